"""A runner that goes away and comes back at the same port, with its history or without."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from script_runner import InvalidResponse, RequestRejected, RunnerUnreachable
from tests.faults.attempts import attempt
from tests.runner_process import RunnerProcess
from tests.waiting import wait_until

LINES = 50
SCRIPTS = {
    "talk": f"#!/bin/sh\nseq 1 {LINES}\n",
    "sleep": "#!/bin/sh\necho begun\nexec sleep 60\n",
}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RunnerProcess]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with RunnerProcess(tmp_path, SCRIPTS, server={"port": port}) as started:
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
    path, events = f"/jobs/{job_id}", process.events
    before = sum(event.get("path") == path for event in events)
    wait_until(lambda: sum(event.get("path") == path for event in events) > before)


@pytest.mark.parametrize("has_forgotten", [False, True], ids=["same history", "no history"])
def test_a_walk_through_a_log_across_a_restart_repeats_and_loses_nothing(
    process: RunnerProcess, has_forgotten: bool
) -> None:
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
