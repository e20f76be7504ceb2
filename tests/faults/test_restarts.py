"""A runner that goes away and comes back at the same port, with its history or without."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from script_runner import InvalidResponse, RequestRejected, RunnerUnreachable, disconnect
from script_runner.logs import Log, Page, Reading
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.faults.attempts import Attempt, attempt
from tests.faults.conftest import change

LINES = 50
NUMBERS = 1500
"""Lines of a log of some pages, 6,393 bytes."""

SCRIPTS = {
    "numbers": f"#!/bin/sh\nseq 1 {NUMBERS}\n",
    "talk": f"#!/bin/sh\nseq 1 {LINES}\n",
    "sleep": "#!/bin/sh\necho begun\nexec sleep 60\n",
}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RunnerProcess]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # A preview so short that the output of a run is read from its log.
    runner = {"previewMaxBytes": 16}
    with RunnerProcess(tmp_path, SCRIPTS, server={"port": port}, runner=runner) as started:
        yield started


def forget(process: RunnerProcess) -> None:
    """Delete the history of a runner that is stopped: its jobs and its logs."""
    for path in process.folder.iterdir():
        if path.suffix in (".json", ".sh"):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_wait_goes_on_when_the_runner_is_back(
    process: RunnerProcess, number: signal.Signals
) -> None:
    job_id = process.submit("sleep")
    process.printed(job_id, "begun")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(attempt, "wait-for-job", process.url, job_id=job_id)
        _looked(process, job_id)
        process.stop(number)
        assert not waiting.done()
        process.start()
        tried = waiting.result(20)
    assert tried.outputs is not None, tried.error
    assert (tried.outputs["job_id"], tried.context.logs) == (job_id, [("stdout", "begun")])
    assert tried.outputs["status"] in ("failed", "cancelled")


def test_a_wait_for_a_job_that_its_runner_has_forgotten_is_rejected(
    process: RunnerProcess,
) -> None:
    job_id = process.submit("sleep")
    process.printed(job_id, "begun")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(attempt, "wait-for-job", process.url, job_id=job_id)
        _looked(process, job_id)
        process.stop(signal.SIGKILL)
        forget(process)
        process.start()
        tried = waiting.result(20)
    assert isinstance(tried.error, RequestRejected)
    assert tried.error.code == "JOB_NOT_FOUND"
    assert "The runner may have forgotten an old job" in str(tried.error)


def _looked(process: RunnerProcess, job_id: str) -> None:
    """Wait until somebody has read the log, beside the test."""

    def polls() -> int:
        return sum(event.get("path") == f"/jobs/{job_id}" for event in process.events)

    before = polls()
    wait_until(lambda: polls() > before)


@pytest.mark.parametrize("has_forgotten", [False, True], ids=["same history", "no history"])
def test_a_walk_through_a_log_across_a_restart_repeats_and_loses_nothing(
    process: RunnerProcess, has_forgotten: bool
) -> None:
    # No lines of before the restart.
    change(walk_seconds=0)
    job_id = str(process.run("talk")["jobId"])
    seen: list[str] = []
    for number in range(LINES // 10):
        if number == 2:
            process.stop(signal.SIGKILL)
            away = attempt("get-job-logs", process.url, job_id=job_id, offset=len(seen), limit=10)
            assert isinstance(away.error, RunnerUnreachable)
            with contextlib.suppress(FileNotFoundError):
                if has_forgotten:
                    forget(process)
            process.start()
        tried = attempt("get-job-logs", process.url, job_id=job_id, offset=len(seen), limit=10)
        if has_forgotten and number == 2:
            assert isinstance(tried.error, RequestRejected | InvalidResponse)
            assert "JOB_NOT_FOUND" in str(tried.error)
            return
        assert tried.outputs is not None, tried.error
        assert tried.outputs["total_lines"] == LINES
        seen += tried.outputs["logs"]
    assert seen == [str(number) for number in range(1, LINES + 1)]


def between_pages(
    monkeypatch: pytest.MonkeyPatch, page_bytes: int, do: Callable[[], object]
) -> None:
    """Read logs by small pages, and do something before the second page that is read."""
    disconnect()
    change(page_bytes=page_bytes)
    page, before = Log.page, iter([lambda: None, do])

    def then_page(log: Log, offset: int, limit: int, next_limit: int = 0) -> Reading[Page]:
        # Each page is asked for in its turn, not while the one before it is read.
        del next_limit
        next(before, lambda: None)()
        return page(log, offset, limit)

    monkeypatch.setattr(Log, "page", then_page)


WANTED = [str(number) for number in range(1, NUMBERS + 1)]
READERS = ["get-job-logs", "run-script-sync"]


def read_to_the_end(process: RunnerProcess, block: str, job_id: str) -> Attempt:
    """All lines of a job that has ended, or the output of one that is run."""
    if block == "run-script-sync":
        return attempt(block, process.url, script_id="numbers")
    return attempt(block, process.url, job_id=job_id, limit=2 * NUMBERS)


@pytest.mark.parametrize("block", READERS)
@pytest.mark.parametrize(
    ("number", "sizes"), [(signal.SIGKILL, (64, 1000, 4096)), (signal.SIGTERM, (1000,))]
)
def test_a_runner_that_goes_away_between_two_pages_is_unreachable_and_then_read_on(
    process: RunnerProcess,
    number: signal.Signals,
    sizes: Sequence[int],
    block: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = str(process.run("numbers")["jobId"])
    for page_bytes in sizes:
        with monkeypatch.context() as patch:
            between_pages(patch, page_bytes, lambda: process.stop(number))
            tried = read_to_the_end(process, block, job_id)
            assert type(tried.error) is RunnerUnreachable, tried
            # The second page, by its offset.
            pattern = (
                rf"GET /jobs/(\w+)/logs\?stream=stdout&offset={page_bytes}&limit=\d+ at "
                rf"{re.escape(process.url)}: (the connection was lost before a response came|"
                r"no connection) \(.+\)\. .+"
            )
            found = re.fullmatch(pattern, str(tried.error))
            assert found is not None, str(tried.error)
            process.start()
            # What was counted before is still known.
            again = read_to_the_end(process, "get-job-logs", found[1])
        assert again.outputs is not None, again.error
        assert (again.outputs["logs"], again.outputs["total_lines"]) == (WANTED, NUMBERS)


@pytest.mark.parametrize("block", READERS)
def test_a_runner_that_restarts_between_two_pages_is_read_on(
    process: RunnerProcess, block: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restart() -> None:
        process.stop(signal.SIGKILL)
        process.start()

    job_id = str(process.run("numbers")["jobId"])
    for page_bytes in (64, 4096):
        with monkeypatch.context() as patch:
            between_pages(patch, page_bytes, restart)
            tried = read_to_the_end(process, block, job_id)
        assert tried.outputs is not None, tried.error
        said = tried.outputs.get("logs") or str(tried.outputs.get("stdout")).splitlines()
        assert said == WANTED
