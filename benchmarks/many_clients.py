"""Short jobs of many clients at once."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from benchmarks import memory
from benchmarks.figures import Benchmark, Result, Row, Settings, at_most, duration, short
from benchmarks.log_files import MEGABYTE
from benchmarks.runner import LocalRunner
from benchmarks.short_jobs import SCRIPT, LeanClient
from benchmarks.timing import seconds_of

CLIENTS = 32
JOBS = 1_000


@dataclass(frozen=True)
class _Load:
    """What many clients at once got, and what the runner's own process needed for it."""

    jobs: int
    rate: float
    bare_rate: float
    cpu_seconds: float
    bytes_above_start: int


def _measure(settings: Settings) -> Result:
    jobs = 10 * JOBS if settings.full else JOBS
    local = threading.local()
    with LocalRunner(settings.folder / "runner", SCRIPT, maxConcurrent=CLIENTS) as runner:

        def run() -> None:
            if not hasattr(local, "client"):
                local.client = LeanClient(runner)
            local.client.run()

        script = runner.script("quick")
        bare = _rate(JOBS, lambda: subprocess.run([script], capture_output=True, check=True))
        runner.run("quick")
        before, cpu_before = memory.now(runner.pid), _cpu_seconds(runner.pid)
        rate = _rate(jobs, run)
        cpu = _cpu_seconds(runner.pid) - cpu_before
        load = _Load(jobs, rate, bare, cpu, memory.peak_of(runner.pid) - before)
    return Result(_rows(load))


def _rows(load: _Load) -> list[Row]:
    what = f"local runner: {load.jobs:,} jobs of {CLIENTS} clients, no error"
    growth = load.bytes_above_start / MEGABYTE
    measured = (
        f"{short(load.rate)} jobs/s, {short(load.rate / (os.cpu_count() or 1))} a core; "
        f"{duration(load.cpu_seconds / load.jobs)} of CPU a job in the runner's own process"
    )
    compared = (
        f"`subprocess.run` of the same script by {CLIENTS} threads: {short(load.bare_rate)} jobs/s"
    )
    return [
        Row(what, measured, compared, load.rate / load.bare_rate),
        Row(
            f"{what}: its memory above start", f"{short(growth)} MB", "", growth, "MB", at_most(50)
        ),
    ]


def _rate(jobs: int, work: Callable[[], object]) -> float:
    """Jobs per second of so many jobs by all clients together; the first error is raised."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = seconds_of(lambda: list(pool.map(lambda _: work(), range(jobs))))
    return jobs / seconds


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


MANY_CLIENTS = Benchmark(
    "many-clients",
    "Many clients",
    "`POST /run` of sync jobs, a two-line `sh` script, by a connection a thread, on the "
    "same cores as the runner and its scripts. Memory is the peak of the runner's process less "
    "what was resident after its first job.",
    _measure,
)
