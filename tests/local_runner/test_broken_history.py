"""A history that is damaged, or was open to others: said, got round, closed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local_runner.config import load
from local_runner.jobs.record import JobRecord, Status
from local_runner.jobs.scheduler import Scheduler, Unavailable
from local_runner.storage import database
from local_runner.storage.history import Store, StoreError
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

SCRIPTS = {"hello": "#!/bin/sh\necho hello\n"}


def damage(folder: Path, change: str) -> None:
    """Change the history of a runner that is stopped."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite3")) as history, history:
        assert history.execute(change).rowcount == 1


def test_a_job_that_cannot_be_read_keeps_no_other_from_running(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS, runner={"maxConcurrent": 1, "maxJobs": 3}) as runner:
        damaged = runner.run("hello")["jobId"]
        runner.stop()
        damage(tmp_path, "UPDATE jobs SET args = 'no JSON'")
        runner.start()

        response = runner.http.get(f"/jobs/{damaged}")
        jobs = [runner.run("hello") for _ in range(4)]
        # As the oldest it is forgotten like any other.
        wait_until(lambda: runner.http.get(f"/jobs/{damaged}").status_code == 404)

    assert response.status_code == 500
    assert response.json()["error"]["message"].startswith(
        "the history of jobs cannot be read or written: "
    )
    assert [job["status"] for job in jobs] == ["succeeded"] * 4


def test_a_job_to_go_on_with_that_cannot_be_read_ends_the_start_in_one_line(
    tmp_path: Path,
) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        runner.run("hello")
        runner.stop()
    damage(tmp_path, "UPDATE jobs SET args = 'no JSON', status = 'queued', ended_ms = NULL")

    ended = subprocess.run(runner.command, capture_output=True, text=True, timeout=30, check=False)

    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert "the history of jobs cannot be read or written: " in ended.stderr.splitlines()[-1]


def test_a_history_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        runner.run("hello")
        runner.stop()
        (tmp_path / "jobs.sqlite3").chmod(0o644)
        (tmp_path / "jobs.sqlite3-wal").touch(0o644)
        (tmp_path / "jobs.sqlite3-wal").chmod(0o644)

        runner.start()
        runner.run("hello")

        files = list(tmp_path.glob("jobs.sqlite3*"))
        assert {path.name for path in files} == {"jobs.sqlite3", "jobs.sqlite3-wal"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


class NoCheckpoint:
    """A connection that has no memory for a checkpoint."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if "wal_checkpoint" in statement:
            raise MemoryError
        return self._connection.execute(statement, *values)

    def __enter__(self) -> None:
        self._connection.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._connection.__exit__(*error)

    def close(self) -> None:
        self._connection.close()


async def test_a_checkpoint_that_fails_keeps_nobody_waiting_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 1)
    caplog.set_level("INFO", "local_runner")
    history = Store(tmp_path / "jobs.sqlite3")
    opened = history._database
    monkeypatch.setattr(opened, "connection", NoCheckpoint(opened.connection))
    records = [
        JobRecord(seq, f"job_{seq}", "hello", [], "sync", Status.SUCCEEDED, 1, ended_ms=1)
        for seq in (1, 2, 3)
    ]

    for record in records:
        await history.save(record)

    assert await history.get("job_3") == records[2]
    await history.close()
    told = [vars(record)["fields"]["message"] for record in caplog.records]
    assert "the journal of the history stays long: MemoryError()" in told


@contextlib.asynccontextmanager
async def scheduling(folder: Path) -> AsyncIterator[tuple[Scheduler, Store, str]]:
    """A scheduler with one slot, its history, and the job that has the slot."""
    scripts = {"waits": "#!/bin/sh\nexec sleep 300\n"}
    RunnerProcess(folder, scripts, runner={"maxConcurrent": 1, "killGraceSeconds": 0.2})
    config = load(folder / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store)
    await scheduler.recover()
    first = await scheduler.run("waits", [], "async")
    async with asyncio.timeout(20):
        yield scheduler, store, first.record.job_id
    await store.close()


async def test_who_waits_for_a_queued_job_is_told_of_a_stop_that_a_failed_cancel_meets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = asyncio.Event()

    async def fail(_: JobRecord) -> None:
        await stopping.wait()
        raise StoreError("disk full")

    async with scheduling(tmp_path) as (scheduler, store, _):
        queued = await scheduler.run("waits", [], "sync")
        with monkeypatch.context() as patch:
            patch.setattr(store, "save", fail)
            cancel = asyncio.create_task(scheduler.cancel(queued.record.job_id))
            await asyncio.sleep(0)
            stop = asyncio.create_task(scheduler.stop())
            await asyncio.sleep(0)
            stopping.set()
            with pytest.raises(StoreError):
                await cancel
            await stop
        with pytest.raises(Unavailable, match="stays queued"):
            await scheduler.ended(queued)


async def test_a_job_that_starts_before_it_is_recorded_ends_as_others_do_by_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = asyncio.Event()

    async with scheduling(tmp_path) as (scheduler, store, first):
        save = store.save

        async def save_late(record: JobRecord) -> None:
            late = record.status == Status.QUEUED
            await save(record)
            if late:
                await stopping.wait()

        monkeypatch.setattr(store, "save", save_late)
        accepting = asyncio.create_task(scheduler.run("waits", [], "sync"))
        while not scheduler._live.queue:
            await asyncio.sleep(0.01)
        await scheduler.cancel(first)
        while not any(
            job.has_process for job in scheduler._live.begun.values() if job.record.seq == 2
        ):
            await asyncio.sleep(0.01)
        stop = asyncio.create_task(scheduler.stop())
        await asyncio.sleep(0)
        stopping.set()
        ended = await scheduler.ended(await accepting)
        await stop

    assert ended.status == Status.CANCELED
