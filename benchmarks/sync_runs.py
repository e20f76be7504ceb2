"""Many sync runs that wait at once, and a cancel among them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.blocks import call_block, load_block
from benchmarks.figures import (
    Benchmark,
    Curve,
    Plot,
    Result,
    Row,
    Settings,
    at_most,
    duration,
)
from benchmarks.runner import BenchmarkFailed, LocalRunner
from benchmarks.timing import seconds_of

RUNS = 200
"""The number of runs of the table."""
CROWDS = (1, 8, 32, 100, RUNS)
LARGEST_CROWD = 500
"""With FULL."""

SLEEP_SECONDS = 1.0
CANCEL_AFTER_SECONDS = 0.5
"""When the cancel is sent: all runs are under way, none has ended."""

SCRIPTS = {"sleep": "exec sleep 1", "endless": "exec sleep 3600"}


@dataclass(frozen=True)
class _Crowd:
    """Seconds until all runs have returned, of a cancel meanwhile, and of bare processes."""

    runs: float
    cancel: float
    bare: float


def _measure(settings: Settings) -> Result:
    sizes = [*CROWDS, *([LARGEST_CROWD] if settings.full else [])]
    for block in ("run-script-sync", "cancel-job"):
        load_block(block)
    folder = settings.folder / "runner"
    with LocalRunner(folder, SCRIPTS, maxConcurrent=2 * LARGEST_CROWD) as runner:
        crowds = {
            size: _crowd(runner, size, rounds=3 if settings.full or size == RUNS else 1)
            for size in sizes
        }
    return Result(_rows(crowds[RUNS]), _plots(crowds))


def _crowd(runner: LocalRunner, size: int, rounds: int) -> _Crowd:
    measured = [_once(runner, size) for _ in range(rounds)]
    return _Crowd(
        median(one.runs for one in measured),
        max(one.cancel for one in measured),
        median(one.bare for one in measured),
    )


def _once(runner: LocalRunner, size: int) -> _Crowd:
    bare = seconds_of(lambda: _bare_processes(runner.script("sleep"), size))
    to_cancel = str(runner.run("endless", mode="async")["jobId"])
    ended = [0.0] * size
    gate = threading.Barrier(size + 1)

    def run(number: int) -> dict[str, object]:
        gate.wait()
        outputs = call_block("run-script-sync", runner.url, script_id="sleep")
        ended[number] = time.perf_counter()
        return outputs

    with ThreadPoolExecutor(size) as pool:
        running = [pool.submit(run, number) for number in range(size)]
        gate.wait()
        begun = time.perf_counter()
        time.sleep(CANCEL_AFTER_SECONDS)
        cancel = seconds_of(lambda: call_block("cancel-job", runner.url, job_id=to_cancel))
        statuses = [one.result()["status"] for one in running]
    _check(runner, statuses, to_cancel)
    return _Crowd(max(ended) - begun, cancel, bare)


def _bare_processes(script: Path, size: int) -> None:
    processes = [subprocess.Popen([script]) for _ in range(size)]
    for process in processes:
        process.wait()


def _check(runner: LocalRunner, statuses: list[object], cancelled: str) -> None:
    failed = len(statuses) - statuses.count("completed")
    if failed:
        raise BenchmarkFailed(f"{failed} of {len(statuses)} sync runs failed")
    status = call_block("get-job-status", runner.url, job_id=cancelled)["status"]
    if status != "cancelled":
        raise BenchmarkFailed(f"the job that was cancelled is {status}")


def _rows(crowd: _Crowd) -> list[Row]:
    return [
        Row(
            f"{RUNS} sync runs of `sleep 1` at once, none failed",
            duration(crowd.runs),
            f"`sleep 1`: 1 s ({RUNS} bare processes at once: {duration(crowd.bare)})",
            crowd.runs,
            "s",
            at_most(2 * SLEEP_SECONDS),
        ),
        Row(
            "a `cancel-job` meanwhile, the slowest",
            duration(crowd.cancel),
            "",
            1000 * crowd.cancel,
            "ms",
            at_most(500),
        ),
    ]


def _plots(crowds: dict[int, _Crowd]) -> list[Plot]:
    def curve(label: str, seconds: Callable[[_Crowd], float]) -> Curve:
        return Curve(label, [(float(size), seconds(crowd)) for size, crowd in crowds.items()])

    return [
        Plot(
            "sync-runs",
            "Sync runs of `sleep 1` at once",
            "runs at once",
            "seconds",
            [
                curve("until all have returned", lambda crowd: crowd.runs),
                curve("bare processes", lambda crowd: crowd.bare),
                curve("a cancel meanwhile", lambda crowd: crowd.cancel),
            ],
            is_logarithmic=False,
        )
    ]


SYNC_RUNS = Benchmark(
    "sync-runs",
    "Many at once",
    "A thread for each `run-script-sync`, as OOMOL's executor has them, and as many slots in the "
    "local runner; from the moment all are let go to the last return. The bare processes are "
    "started by one thread just before.",
    _measure,
)
