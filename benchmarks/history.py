"""The local runner with a long history of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.figures import (
    Benchmark,
    Curve,
    Plot,
    Result,
    Row,
    Settings,
    at_least,
    short,
)
from benchmarks.runner import LocalRunner
from benchmarks.short_jobs import SCRIPT, LeanClient, rate_of
from benchmarks.timing import interleaved_figures
from local_runner.jobs.record import JobRecord, Status
from local_runner.storage.history import Store

LENGTHS = (10, 1_000, 10_000, 100_000)
MANY_JOBS = 10**9
"""A `maxJobs` that no history here reaches."""

DATABASE = "jobs.sqlite3"
LOGS = "logs"
BATCH_ROWS = 5_000


@dataclass(frozen=True)
class _Rates:
    """Jobs per second with a history, and of a fresh runner at the same time."""

    with_history: float
    fresh: float


def _measure(settings: Settings) -> Result:
    rounds = 25 if settings.full else 9
    runner = LocalRunner(settings.folder / "runner", SCRIPT, maxJobs=MANY_JOBS)
    rates = {}
    kept = 0
    for length in LENGTHS:
        kept = _lengthen(runner.folder, length)
        rates[length] = _compare(runner, settings.folder / f"fresh-{length}", rounds, MANY_JOBS)
    # What was just measured is in the history too, so that each new job pushes an old one out.
    steady = _compare(runner, settings.folder / "fresh-steady", rounds, kept)
    return Result(_rows(rates[LENGTHS[-1]], steady), [_plot(rates)])


def _compare(runner: LocalRunner, fresh_folder: Path, rounds: int, max_jobs: int) -> _Rates:
    runner.start(maxJobs=max_jobs)
    try:
        with (
            LocalRunner(fresh_folder, SCRIPT) as fresh,
            contextlib.closing(LeanClient(runner)) as old_client,
            contextlib.closing(LeanClient(fresh)) as fresh_client,
        ):
            rates = interleaved_figures(
                {"history": lambda: rate_of(old_client), "fresh": lambda: rate_of(fresh_client)},
                rounds,
                warm_up=1,
            )
    finally:
        runner.stop()
    return _Rates(median(rates["history"]), median(rates["fresh"]))


def _lengthen(folder: Path, length: int) -> int:
    """Add ended jobs with their logs until the history has so many; returns how many it has."""
    logs = folder / LOGS
    logs.mkdir(exist_ok=True)
    return asyncio.run(_add_jobs(folder / DATABASE, logs, length))


async def _add_jobs(database: Path, logs: Path, length: int) -> int:
    store = Store(database)
    try:
        missing = max(0, length - store.count)
        now = time.time_ns() // 1_000_000
        numbers = range(store.last_seq + 1, store.last_seq + 1 + missing)
        for start in range(0, missing, BATCH_ROWS):
            batch = [_ended_job(number, now) for number in numbers[start : start + BATCH_ROWS]]
            # Saves that wait together share one transaction.
            await asyncio.gather(*(store.save(record) for record in batch))
            _write_logs(logs, batch)
        return store.count + missing
    finally:
        await store.close()


def _ended_job(number: int, now_ms: int) -> JobRecord:
    return JobRecord(
        seq=number,
        job_id=f"job_{now_ms}_{number}",
        script_id="quick",
        args=[],
        mode="sync",
        status=Status.SUCCEEDED,
        created_ms=now_ms,
        code=0,
        started_ms=now_ms,
        ended_ms=now_ms,
        duration_ms=0,
        stdout_size=5,
        stdout_preview="done\n",
    )


def _write_logs(logs: Path, records: Sequence[JobRecord]) -> None:
    for record in records:
        (logs / record.log_name("stdout")).write_bytes(b"done\n")
        (logs / record.log_name("stderr")).touch()


def _rows(longest: _Rates, steady: _Rates) -> list[Row]:
    return [
        Row(
            f"local runner: short jobs {condition}",
            f"{short(rates.with_history)} jobs/s",
            f"a runner without a history: {short(rates.fresh)} jobs/s",
            rates.with_history / rates.fresh,
            reach=at_least(0.9),
        )
        for condition, rates in (
            ("after 100,000 jobs of history", longest),
            ("when each pushes the oldest of 100,000 out", steady),
        )
    ]


def _plot(rates: dict[int, _Rates]) -> Plot:
    return Plot(
        "history",
        "Short jobs one after another, by the length of the history",
        "jobs in the history",
        "jobs/s",
        [
            Curve("with the history", [(float(n), one.with_history) for n, one in rates.items()]),
            Curve("fresh, at the same time", [(float(n), one.fresh) for n, one in rates.items()]),
        ],
        is_logarithmic=False,
    )


HISTORY = Benchmark(
    "history",
    "A long history",
    "Two local runners, one fresh, one whose history was written beforehand with "
    "`local_runner.storage.history`, log files included. They take slices of sync jobs, a two-line "
    "`sh` script, in turns; medians.",
    _measure,
)
