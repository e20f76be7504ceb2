"""A clock that is set back: no id twice, no negative duration, and what has to end ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local_runner.config import load
from local_runner.jobs.scheduler import Scheduler
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess
from scripts.waiting import POLL_SECONDS

MOST_SECONDS = 8.0
"""For what takes two seconds on an idle machine."""

STUBBORN = "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n"
SCRIPTS = {"hello": "#!/bin/sh\necho hello\n", "stubborn": STUBBORN, "limited": STUBBORN}


@pytest.fixture
def clock_that_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds it an hour earlier than the one before."""
    clock = itertools.count(time.time_ns(), -3_600_000_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    monkeypatch.setattr(time, "time", lambda: next(clock) / 1e9)


@contextlib.asynccontextmanager
async def runner_in(folder: Path) -> AsyncIterator[Scheduler]:
    """A runner in this process, on the history of the folder."""
    config = load(folder / "config.json")
    store = Store(config.database)
    runner = Scheduler(config, store)
    async with asyncio.timeout(20):
        await runner.recover()
        yield runner
        assert [job for job in await store.live() if job.status == "running"] == []
        await runner.stop()
        await store.close()


async def run_one(runner: Scheduler, script_id: str) -> dict[str, Any]:
    """Run a job to its end; returns its record."""
    return vars(await runner.ended(await runner.run(script_id, [], "sync"))).copy()


@pytest.mark.usefixtures("clock_that_runs_backwards")
async def test_a_clock_that_is_set_back_makes_no_id_twice_and_no_duration_negative(
    tmp_path: Path,
) -> None:
    RunnerProcess(tmp_path, SCRIPTS)
    jobs = []
    for _ in range(2):
        async with runner_in(tmp_path) as runner:
            jobs += [await run_one(runner, "hello") for _ in range(5)]

    assert len({job["job_id"] for job in jobs}) == 10
    assert [job["seq"] for job in jobs] == list(range(1, 11))
    assert all(job["status"] == "succeeded" for job in jobs)
    assert all(0 <= job["duration_ms"] < 20_000 for job in jobs)


@pytest.mark.usefixtures("clock_that_runs_backwards")
async def test_a_time_limit_and_a_cancel_do_not_go_by_the_clock(tmp_path: Path) -> None:
    rules = {"limited": {"timeoutSec": 1}}
    RunnerProcess(tmp_path, SCRIPTS, runner={"killGraceSeconds": 0.5}, rules=rules)
    begun = time.monotonic()
    async with runner_in(tmp_path) as runner:
        timed_out = await run_one(runner, "limited")
        job = await runner.run("stubborn", [], "async")
        while (await job.preview()).stdout_preview != "ready\n":
            await asyncio.sleep(POLL_SECONDS)
        await runner.cancel(job.record.job_id)
        canceled = await runner.ended(job)

    assert (timed_out["status"], canceled.status) == ("timed_out", "canceled")
    assert 1000 <= timed_out["duration_ms"] < MOST_SECONDS * 1000
    # The limit, and twice from SIGTERM to SIGKILL.
    assert 2 <= time.monotonic() - begun < MOST_SECONDS


def test_a_clock_set_back_across_a_kill_gives_no_negative_duration(tmp_path: Path) -> None:
    with RunnerProcess(tmp_path, SCRIPTS) as runner:
        job_id = runner.submit("stubborn")
        runner.printed(job_id, "ready")
        runner.stop(signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as history:
            # As if it had been started tomorrow.
            history.execute("UPDATE jobs SET started_ms = started_ms + 86400000")
            history.commit()

        runner.start()

        job = runner.job(job_id)
        assert (job["status"], job["durationMs"]) == ("failed", 0)
