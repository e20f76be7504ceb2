"""Disks that are full, folders that are gone: said, survived, got over."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from local_runner.config import load
from local_runner.jobs.record import JobRecord
from local_runner.jobs.scheduler import Scheduler
from local_runner.storage.history import Store
from local_runner.storage.log_file import LogFile
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.limits import assert_works, limited, needs_prlimit
from tests.support.processes import processes_of

SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "touches": '#!/bin/sh\ntouch "$1"\n',
    "waits": '#!/bin/sh\nwhile [ ! -e "$1" ]; do sleep 0.02; done\n',
    "prints-much": (
        "#!/bin/sh\ntrap 'echo late >&2; exit' TERM\nhead -c 300000 /dev/zero | tr '\\0' x\n"
        "sleep 300 & wait\n"
    ),
}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    settings = {"maxConcurrent": 2, "killGraceSeconds": 0.5}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as started:
        yield started


def full_disk(runner: RunnerProcess, most_bytes: int = 0) -> AbstractContextManager[None]:
    """No file of the runner can grow beyond a size, which a full disk comes to."""
    return limited(runner, "RLIMIT_FSIZE", most_bytes)


@pytest.mark.parametrize("replace", [Path.touch, lambda path: path.symlink_to(path)])
def test_a_job_without_a_log_folder_fails_and_says_why(
    runner: RunnerProcess, tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    logs = tmp_path / "logs"
    replace(logs)

    jobs = [runner.run("touches", str(tmp_path / "ran")) for _ in range(5)]

    for job in jobs:
        assert (job["status"], job["code"]) == ("failed", -1)
        assert "the job could not be started" in job["stderrPreview"]
        assert str(logs) in job["stderrPreview"]
        assert runner.job(job["jobId"]) == job
    assert not (tmp_path / "ran").exists()
    logs.unlink()
    assert_works(runner)


def test_a_job_goes_on_without_its_log_folder(runner: RunnerProcess, tmp_path: Path) -> None:
    job_id = runner.submit("waits", str(tmp_path / "gate"))
    wait_until(lambda: psutil.Process(runner.pid).children())

    shutil.rmtree(tmp_path / "logs")
    (tmp_path / "gate").touch()

    assert runner.ended(job_id)["status"] == "succeeded"
    assert runner.log(job_id) == ""
    assert_works(runner)


@pytest.mark.parametrize("left", [b"", b"hel"])
def test_pages_of_a_log_that_somebody_has_cut_say_so(runner: RunnerProcess, left: bytes) -> None:
    job = runner.run("hello")
    page = f"/jobs/{job['jobId']}/logs"
    whole = runner.http.get(page).json()

    (runner.folder / "logs" / job["stdoutRef"]).write_bytes(left)

    cut = runner.http.get(page).json()
    assert [whole["data"], cut["data"]] == ["hello\n", left.decode()]
    assert [whole["truncated"], cut["truncated"]] == [False, True]
    assert not runner.http.get(page, params={"stream": "stderr"}).json()["truncated"]


@needs_prlimit
def test_a_script_whose_log_cannot_be_written_is_ended_and_says_why(runner: RunnerProcess) -> None:
    with full_disk(runner, most_bytes=200_000):
        job = runner.run("prints-much")

    assert (job["status"], job["code"], job["stdoutSize"]) == ("failed", -1, 200_000)
    assert (job["stdoutTruncated"], job["stderrTruncated"]) == (True, True)
    assert job["stderrPreview"] == f"the log could not be written: {os.strerror(errno.EFBIG)}\n"
    assert runner.log(job["jobId"]) == "x" * 65536
    assert runner.job(job["jobId"]) == job
    assert psutil.Process(runner.pid).children(recursive=True) == []
    assert_works(runner)


@needs_prlimit
def test_a_run_that_cannot_be_recorded_is_refused_and_not_run(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    body = {"scriptId": "touches", "args": [str(tmp_path / "ran")]}

    with full_disk(runner):
        responses = [runner.http.post("/run", json=body) for _ in range(5)]

    assert [response.status_code for response in responses] == [500] * 5
    for response in responses:
        error = response.json()["error"]
        assert error["code"] == "INTERNAL_ERROR"
        assert error["message"].startswith("the history of jobs cannot be read or written: ")
    assert_works(runner)
    assert not (tmp_path / "ran").exists()


@needs_prlimit
def test_a_job_can_be_asked_for_while_others_cannot_be_recorded(runner: RunnerProcess) -> None:
    earlier = runner.run("hello")
    asked = []

    with full_disk(runner), ThreadPoolExecutor(8) as pool:
        for _ in range(100):
            pool.submit(runner.http.post, "/run", json={"scriptId": "hello"})
            asked.append(pool.submit(runner.job, earlier["jobId"]))

    assert [job.result() for job in asked] == [earlier] * 100


@needs_prlimit
def test_an_end_that_cannot_be_recorded_is_returned_and_recorded_later(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    jobs = [runner.submit("waits", str(tmp_path / "gate")) for _ in range(2)]
    wait_until(lambda: len(psutil.Process(runner.pid).children()) == 2)

    with full_disk(runner):
        (tmp_path / "gate").touch()
        ended = [runner.ended(job_id) for job_id in jobs]
        assert [job["status"] for job in ended] == ["succeeded"] * 2

    # Both slots are free again only when both jobs are recorded.
    later = [runner.submit("waits", str(tmp_path / "never")) for _ in range(2)]
    wait_until(lambda: all(runner.job(job_id)["status"] == "running" for job_id in later))
    runner.stop(signal.SIGKILL)
    runner.start()
    assert [runner.job(job_id) for job_id in jobs] == ended


@needs_prlimit
def test_a_cancel_that_is_not_recorded_returns(runner: RunnerProcess, tmp_path: Path) -> None:
    for _ in range(2):
        runner.submit("waits", str(tmp_path / "gate"))
    queued = runner.submit("touches", str(tmp_path / "ran"))

    with full_disk(runner):
        response = runner.http.post(f"/jobs/{queued}/cancel", timeout=5)

    (tmp_path / "gate").touch()
    status = runner.ended(queued)["status"]
    assert (response.status_code, status) in [(200, "canceled"), (500, "succeeded")]
    assert (tmp_path / "ran").exists() == (status == "succeeded")


async def run_twice(folder: Path, script_id: str) -> list[JobRecord]:
    """Run two jobs, which both must end, one after the other in the only slot."""
    RunnerProcess(folder, SCRIPTS, runner={"maxConcurrent": 1, "killGraceSeconds": 0.5})
    config, jobs = load(folder / "config.json"), []
    store = Store(config.database)
    runner = Scheduler(config, store)
    await runner.recover()
    async with asyncio.timeout(20):
        for _ in range(2):
            job = await runner.run(script_id, [], "sync")
            jobs.append(await runner.ended(job))
    await runner.stop()
    await store.close()
    return jobs


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("local_runner.processes.local.ScriptProcess", RuntimeError("which nobody foresaw")),
        (
            "local_runner.processes.local.ScriptProcess._watch_for_exit",
            OSError(errno.ENOMEM, "out of memory"),
        ),
        ("local_runner.storage.log_file.LogFile.close", OSError(errno.EIO, "input/output error")),
    ],
)
async def test_a_failure_that_nobody_foresaw_ends_the_job_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def broken(*args: object) -> None:
        if isinstance(args[0], LogFile):
            close(args[0])
        raise error

    close = LogFile.close
    monkeypatch.setattr(name, broken)
    open_files = psutil.Process().num_fds()

    jobs = await run_twice(tmp_path, "prints-much" if "_watch_for_exit" in name else "hello")

    left = [process for job in jobs for process in processes_of(job.job_id)]
    for process in left:
        process.kill()
    assert [job.has_ended for job in jobs] == [True, True]
    assert (left, psutil.Process().num_fds()) == ([], open_files)


def test_a_runner_starts_even_if_the_log_of_a_lost_job_cannot_be_read(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        job_id = runner.submit("waits", str(tmp_path / "gate"))
        wait_until(lambda: psutil.Process(runner.pid).children())
        runner.stop(signal.SIGKILL)
        shutil.rmtree(tmp_path / "logs")
        (tmp_path / "logs").touch()

        runner.start()

        job = runner.job(job_id)
        assert (job["status"], job["code"]) == ("failed", -1)
