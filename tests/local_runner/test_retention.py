"""The bound on the history: how many of the oldest jobs go, and with what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_runner.config import load
from local_runner.jobs.record import STREAMS, JobRecord, Status
from local_runner.storage.history import Store
from local_runner.storage.retention import Retention


def ended(seq: int) -> JobRecord:
    """A job that has ended."""
    return JobRecord(seq, f"job_{seq}", "hello", [], "sync", Status.SUCCEEDED, 1, ended_ms=1)


@pytest.mark.parametrize(("max_jobs", "kept"), [(1, 1), (199, 199), (400, 398)])
async def test_never_more_than_max_jobs_are_kept_and_of_many_some_go_at_once(
    tmp_path: Path, max_jobs: int, kept: int
) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "runner": {"maxJobs": max_jobs, "logsDir": "."},
                "scripts": [{"id": "hello", "path": "./hello.sh"}],
            }
        )
    )
    retention = Retention(store, load(tmp_path / "config.json").runner)
    for seq in range(1, max_jobs + 2):
        assert not retention.is_full
        await store.save(ended(seq))
        for stream in STREAMS:
            (tmp_path / ended(seq).log_name(stream)).touch()
        retention.count_new()
    assert retention.is_full

    await retention.trim()

    left = await store.oldest_ended(max_jobs + 1)
    await store.close()
    first = max_jobs + 2 - kept
    assert list(left) == list(range(first, max_jobs + 2))
    assert {path.name for path in tmp_path.glob("*.log")} == {
        ended(seq).log_name(stream) for seq in left for stream in STREAMS
    }
    assert not retention.is_full
