"""What no test can be told beforehand: `kill -9` at any moment, a full disk, files replaced."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local_runner.config import load
from local_runner.jobs.job import LiveJob
from local_runner.jobs.scheduler import Scheduler
from local_runner.processes import orphans
from local_runner.processes.carriers import JOB_VARIABLE
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.history import (
    MOST_BYTES_OF_A_QUEUED_JOB,
    QUEUED,
    statuses_in_history,
)
from tests.slow.local_runner.torture import Torture, torture
from tests.support.processes import processes_of

KILLS = int(os.environ.get("TORTURE_KILLS", "5"))
"""`make torture` has more."""

LONG_SECONDS = 60.0

SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "appends": '#!/bin/sh\nprintf "%s\\n" "$2" >> "$1"\n',
    "waits": '#!/bin/sh\necho ready\nwhile [ ! -e "$1" ]; do sleep 0.02; done\necho seen\n',
    "stubborn-child": (
        "#!/bin/sh\n(trap '' TERM; echo ready; exec sleep 300 >/dev/null 2>&1) &\nsleep 300\n"
    ),
    "prints-much": "#!/bin/sh\nhead -c 8000000 /dev/zero | tr '\\0' x\nsleep 300\n",
}


def test_whatever_the_moment_of_kill_9_nothing_accepted_is_lost_and_nothing_runs_twice(
    tmp_path: Path,
) -> None:
    figures = torture(tmp_path, KILLS, seed=20261124)
    print(json.dumps(dataclasses.asdict(figures), indent=2))

    assert figures.problems == []
    assert figures.kills == KILLS
    assert figures.kills_of_a_start > 0
    assert figures.succeeded > 0
    assert figures.left_running > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "unable to open database file"), (b"", "no such table: jobs")],
)
def test_a_history_that_is_gone_does_not_pass_for_a_whole_one(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    work = Torture(tmp_path, seed=1)
    if content is not None:
        (tmp_path / "jobs.sqlite3").write_bytes(content)

    assert work._jobs_in_history(tmp_path, "failed") == set()

    assert work.figures.problems == [f"integrity_check: the history cannot be read: {said}"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("nothing can be mounted here (it takes Linux and root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_fails_jobs_and_loses_none(small_disk: Path) -> None:
    settings = {"maxLogBytesPerStream": 100_000_000, "killGraceSeconds": 0.5}
    with RunnerProcess(small_disk, SCRIPTS, runner=settings) as runner:
        earlier = runner.run("hello")

        # Its log takes the last free byte, and keeps it.
        job = runner.run("prints-much")
        filled = runner.http.post("/run", json={"scriptId": "hello", "mode": "async"})

        assert (job["status"], job["code"]) == ("failed", -1)
        reason = f"the log could not be written: {os.strerror(errno.ENOSPC)}"
        assert reason in job["stderrPreview"]
        assert filled.status_code == 500
        assert "the history of jobs cannot be read or written" in filled.json()["error"]["message"]
        assert runner.job(earlier["jobId"]) == earlier
        (small_disk / "logs" / f"{job['jobId']}.stdout.log").unlink()
        assert runner.run("hello")["stdoutPreview"] == "hello\n"
        runner.stop(signal.SIGKILL)
        runner.start()
        assert runner.job(earlier["jobId"]) == earlier
        assert runner.job(job["jobId"])["status"] == "failed"
        assert runner.run("hello")["stdoutPreview"] == "hello\n"


def test_a_script_file_that_is_replaced_while_it_runs_runs_on_and_the_next_job_is_the_new_one(
    tmp_path: Path,
) -> None:
    gate, script = tmp_path / "gate", tmp_path / "waits.sh"
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1}) as runner:
        running = runner.submit("waits", str(gate))
        runner.printed(running, "ready")
        queued = runner.submit("waits", str(gate))

        (tmp_path / "new.sh").write_text("#!/bin/sh\necho new\n")
        (tmp_path / "new.sh").chmod(0o755)
        (tmp_path / "new.sh").replace(script)
        gate.touch()

        assert runner.ended(running)["stdoutPreview"] == "ready\nseen\n"
        assert runner.ended(queued)["stdoutPreview"] == "new\n"
        script.unlink()
        gone = runner.run("waits", str(gate))
        assert (gone["status"], gone["code"]) == ("failed", 127)


def test_a_script_file_that_is_written_over_while_it_runs_ends_and_the_next_job_is_the_new_one(
    tmp_path: Path,
) -> None:
    gate, script = tmp_path / "gate", tmp_path / "waits.sh"
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1}) as runner:
        running = runner.submit("waits", str(gate))
        runner.printed(running, "ready")

        # The same file, which the shell reads on or has read; that is its affair.
        with script.open("w") as file:
            file.write("#!/bin/sh\necho new\n")
        gate.touch()

        job = runner.ended(running)
        assert job["status"] in ("succeeded", "failed")
        assert job["stdoutPreview"].startswith("ready\n")
        assert runner.run("waits", str(gate))["stdoutPreview"] == "new\n"


async def submit_in_this_process(folder: Path, runs: list[list[str]]) -> list[str]:
    """Queue jobs, the script and its arguments each, and stop before any but the first has run."""
    config = load(folder / "config.json")
    store = Store(config.database)
    runner = Scheduler(config, store)
    await runner.recover()
    accepted = await asyncio.gather(*(runner.run(run[0], run[1:], "async") for run in runs))
    await runner.stop()
    await store.close()
    return [job.record.job_id for job in accepted]


def memory_of(runner: RunnerProcess) -> int:
    """The bytes that its process holds."""
    return int(psutil.Process(runner.pid).memory_info().rss)


async def test_ten_thousand_queued_jobs_are_light_and_run_in_their_order_after_kill_9(
    tmp_path: Path,
) -> None:
    ran, never = tmp_path / "ran", str(tmp_path / "never")
    first = [str(number) for number in range(200)]
    settings = {"maxConcurrent": 1, "killGraceSeconds": 0.2, "maxJobs": 2 * QUEUED}
    with RunnerProcess(tmp_path, SCRIPTS, runner=settings) as runner:
        empty = memory_of(runner)
        runner.stop()
        runs = [["waits", never], ["waits", never], *(["appends", str(ran), n] for n in first)]
        runs += [["waits", never]] * (QUEUED + 1 - len(runs))
        job_ids = await submit_in_this_process(tmp_path, runs)

        runner.start()
        runner.printed(job_ids[1], "ready")
        assert (memory_of(runner) - empty) / QUEUED < MOST_BYTES_OF_A_QUEUED_JOB
        runner.stop(signal.SIGKILL)
        runner.start()

        wait_until(lambda: "ready" in runner.log(job_ids[202]), LONG_SECONDS)
        assert ran.read_text().split() == first
        statuses = [runner.job(job_id)["status"] for job_id in (*job_ids[:204], job_ids[-1])]
        assert statuses == [
            "canceled", "failed", *["succeeded"] * 200, "running", "queued", "queued"
        ]  # fmt: skip
        assert runner.stop() == 0

    assert statuses_in_history(tmp_path) == {
        "canceled": 2, "failed": 1, "succeeded": 200, "queued": QUEUED + 1 - 203
    }  # fmt: skip


def test_a_history_that_is_deleted_while_the_runner_runs_does_not_stop_it(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        earlier = runner.run("hello")

        for file in tmp_path.glob("jobs.sqlite3*"):
            file.unlink()

        later = runner.run("hello")
        assert [runner.job(job["jobId"]) for job in (earlier, later)] == [earlier, later]
        shutil.rmtree(tmp_path / "logs")
        runner.stop(signal.SIGKILL)
        runner.start()
        # What was deleted is gone; a new history begins.
        assert runner.http.get(f"/jobs/{later['jobId']}").status_code == 404
        assert runner.run("hello")["stdoutPreview"] == "hello\n"


def refuse(process: psutil.Process, _: int) -> None:
    """What the system says of a process of another user."""
    raise psutil.AccessDenied(process.pid)


@contextlib.asynccontextmanager
async def running(folder: Path, script_id: str, *args: str) -> AsyncIterator[tuple[Any, LiveJob]]:
    """A scheduler in this process, and a job of it that has printed something or waits."""
    RunnerProcess(folder, SCRIPTS, runner={"killGraceSeconds": 0.1})
    config = load(folder / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store)
    async with asyncio.timeout(20):
        await scheduler.recover()
        yield scheduler, await scheduler.run(script_id, list(args), "async")
        await scheduler.stop()
        await store.close()


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings in the log so far."""
    return [record.fields["message"] for record in caplog.records if record.msg == "warning"]  # type: ignore[attr-defined]


async def test_a_script_that_may_not_be_ended_is_said_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_group(*_: object) -> None:
        raise PermissionError

    caplog.set_level("INFO")
    gate = tmp_path / "gate"
    async with running(tmp_path, "waits", str(gate)) as (scheduler, job):
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", refuse_group)
            patch.setattr(psutil.Process, "send_signal", refuse)
            await scheduler.cancel(job.record.job_id)
            while not warnings_in(caplog):
                await asyncio.sleep(0.01)
        assert job.record.status == "running"
        gate.touch()
        assert (await scheduler.ended(job)).status == "canceled"

    (said,) = warnings_in(caplog)
    assert said.endswith("belong to another user and cannot be ended from here")


async def test_what_is_left_of_a_group_and_may_not_be_ended_is_said_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # Of the group only the script itself is of this user.
    monkeypatch.setattr(os, "killpg", os.kill)
    monkeypatch.setattr(psutil.Process, "send_signal", refuse)
    async with running(tmp_path, "stubborn-child") as (scheduler, job):
        while not job.snapshot().stdout_size:
            await asyncio.sleep(0.01)
        await scheduler.cancel(job.record.job_id)
        assert (await scheduler.ended(job)).status == "canceled"

    monkeypatch.undo()
    left = processes_of(job.record.job_id)
    for child in left:
        child.kill()
    (said,) = warnings_in(caplog)
    assert left
    assert said.endswith("belong to another user and cannot be ended from here")


def test_a_process_that_outlives_every_kill_is_not_counted_as_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(orphans, "KILL_SECONDS", 0.01)
    for name in ("kill", "terminate"):
        monkeypatch.setattr(psutil.Process, name, lambda _: None)
    environment = {**os.environ, JOB_VARIABLE: "job_that_stays"}
    with subprocess.Popen(["sleep", "300"], env=environment) as stays:
        try:
            wait_until(lambda: processes_of("job_that_stays"))
            assert orphans.end_processes_of(["job_that_stays"], 0.01) == 0
        finally:
            stays.kill()

    (said,) = [record.fields["message"] for record in caplog.records]  # type: ignore[attr-defined]
    assert said == f"processes of lost jobs cannot be ended: [{stays.pid}]"
