"""The file of the history: taken over from an older version, refused from a newer one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from local_runner.jobs.record import JobRecord, Status
from local_runner.storage import history, schema
from local_runner.storage.history import Store, StoreError

VERSION_1 = """
CREATE TABLE jobs (seq INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, script_id TEXT NOT NULL,
  args TEXT NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL, code INTEGER,
  created_ms INTEGER NOT NULL, started_ms INTEGER, ended_ms INTEGER, duration_ms INTEGER,
  stdout_size INTEGER NOT NULL, stderr_size INTEGER NOT NULL, stdout_truncated INTEGER NOT NULL,
  stderr_truncated INTEGER NOT NULL, stdout_preview TEXT NOT NULL, stderr_preview TEXT NOT NULL);
CREATE INDEX ended_jobs ON jobs (seq) WHERE ended_ms IS NOT NULL;
CREATE INDEX live_jobs ON jobs (seq) WHERE ended_ms IS NULL;
PRAGMA user_version = 1;
"""


def job(seq: int, status: Status, ended_ms: int | None) -> JobRecord:
    """A job of the history."""
    return JobRecord(seq, f"job_{seq}", "hello", ["a"], "sync", status, 1, ended_ms=ended_ms)


async def test_a_history_of_version_1_is_taken_over_with_the_order_of_the_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.sqlite3"
    slow, quick = job(1, Status.FAILED, 900), job(2, Status.SUCCEEDED, 200)
    queued, same_time = job(3, Status.QUEUED, None), job(4, Status.SUCCEEDED, 900)
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
        for record in (slow, quick, queued, same_time):
            names, values = history._COLUMNS[:17], history._to_row(record)[:17]
            insert = f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * 17)})"
            old.execute(insert, values)
        old.commit()

    for _ in range(2):  # the second time it is of this version
        store = Store(path)
        order = await store.oldest_ended(9)
        kept = await store.get("job_2")
        live = await store.live()
        await store.close()

        assert list(order) == [2, 1, 4]
        quick.end_seq = 1
        assert (kept, live) == (quick, [queued])


async def test_jobs_are_in_the_order_of_their_ends_whatever_the_clock_says(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    for record in (job(2, Status.SUCCEEDED, 900), job(1, Status.FAILED, 100)):
        await store.save(record)
    await store.close()
    again = Store(tmp_path / "jobs.sqlite3")
    await again.save(job(3, Status.CANCELED, 50))

    order = await again.oldest_ended(9)
    await again.close()

    assert list(order) == [2, 1, 3]


async def test_a_history_of_a_newer_version_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    await Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="newer than this local runner"):
        Store(path)

    assert path.read_bytes() == before


async def test_one_that_cannot_be_written_fails_none_that_shares_its_transaction(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    good = [job(seq, Status.QUEUED, None) for seq in (1, 2)]
    bad = job(2**64, Status.QUEUED, None)

    # They come while the first is under way, and so together.
    results = await asyncio.gather(
        *(store.save(record) for record in (good[0], bad, good[1])),
        store.get("job_1"),
        return_exceptions=True,
    )

    live = await store.live()
    await store.close()
    assert [type(result) for result in results] == [type(None), StoreError, type(None), JobRecord]
    assert live == good


@pytest.mark.parametrize(
    ("filter_and_order", "index"),
    [
        ("end_seq IS NOT NULL ORDER BY end_seq", "ended_jobs"),
        ("ended_ms IS NULL ORDER BY seq", "live_jobs"),
    ],
)
async def test_neither_old_nor_live_jobs_are_looked_for_in_the_whole_history(
    tmp_path: Path, filter_and_order: str, index: str
) -> None:
    await Store(tmp_path / "jobs.sqlite3").close()

    with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as opened:
        query = f"SELECT job_id FROM jobs WHERE {filter_and_order} LIMIT 50"
        plan = [row[-1] for row in opened.execute(f"EXPLAIN QUERY PLAN {query}")]

    assert len(plan) == 1  # no sorting
    assert index in plan[0].split()
