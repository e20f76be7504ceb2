"""The bound on the history: how many of the oldest jobs go, and with what."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from local_runner.config import load
from local_runner.jobs.record import STREAMS, JobRecord, Status
from local_runner.storage import retention as retention_module
from local_runner.storage.disk import Disk
from local_runner.storage.history import Store
from local_runner.storage.retention import Retention
from scripts.waiting import WAIT_SECONDS


def ended(seq: int) -> JobRecord:
    """A job that has ended."""
    return JobRecord(seq, f"job_{seq}", "hello", [], "sync", Status.SUCCEEDED, 1, ended_ms=1)


def retention_of(folder: Path, store: Store, max_jobs: int, kept_seconds: float = 0.0) -> Retention:
    """The bound on a history, with the logs in the folder."""
    script = {"id": "hello", "path": "./hello.sh"}
    content = {"runner": {"maxJobs": max_jobs, "logsDir": "."}, "scripts": [script]}
    (folder / "config.json").write_text(json.dumps(content))
    limits = load(folder / "config.json").runner
    return Retention(store, limits, Disk(), kept_seconds)


async def end(retention: Retention, store: Store, *seqs: int) -> None:
    """End some jobs, one after the other."""
    for seq in seqs:
        job = ended(seq)
        await store.save(job)
        retention.note_new()
        retention.note_end(job)


@pytest.mark.parametrize("max_jobs", [1, 3, 700])
async def test_no_more_than_max_jobs_are_kept_and_who_ended_first_goes_first(
    tmp_path: Path, max_jobs: int
) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    retention = retention_of(tmp_path, store, max_jobs)
    order = [2, 1, *range(3, 2 * max_jobs + 3)]
    for seq in order:
        for stream in STREAMS:
            (tmp_path / ended(seq).log_name(stream)).touch()
    await end(retention, store, *order)

    await retention.trim()

    left = await store.oldest_ended(len(order))
    await store.close()
    assert list(left) == order[-max_jobs:]
    assert {path.name for path in tmp_path.glob("*.log")} == {
        ended(seq).log_name(stream) for seq in left for stream in STREAMS
    }


async def test_a_job_that_has_just_ended_is_kept_for_those_who_read_its_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention_module, "TRIM_SECONDS", 0.01)
    store = Store(tmp_path / "jobs.sqlite3")
    await store.save(ended(1))
    await store.close()
    store = Store(tmp_path / "jobs.sqlite3")
    retention = retention_of(tmp_path, store, 1, kept_seconds=2)

    await end(retention, store, 2, 3, 4)
    await retention.trim()
    just_ended = list(await store.oldest_ended(9))
    async with asyncio.timeout(WAIT_SECONDS):
        while len(later := list(await store.oldest_ended(9))) > 1:
            await asyncio.sleep(0.01)

    await retention.close()
    await store.close()
    assert (just_ended, later) == ([2, 3, 4], [4])


async def test_when_the_runner_stops_nobody_reads_any_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    retention = retention_of(tmp_path, store, 1, kept_seconds=300)
    await end(retention, store, 1, 2, 3)

    await retention.close()

    left = await store.oldest_ended(9)
    await store.close()
    assert list(left) == [3]
