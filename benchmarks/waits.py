"""How soon `wait-for-job` sees an end, and how many sync runs may wait at once."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.figures import Plot, Row, Settings, duration, subject
from benchmarks.measuring import BenchmarkFailed, call_block, runner_in, seconds_of
from scripts.blocks import load_block
from scripts.runner_process import RunnerProcess

SHORT_SECONDS = tuple(0.2 + 0.05 * step for step in range(33))
"""0.2 to 1.8 s."""
LONG_SECONDS = {
    4: tuple(4 + 0.1 * step for step in range(6)),
    8: tuple(8 + 0.2 * step for step in range(6)),
}
"""Run times of longer jobs, by the name of their row."""
VERY_LONG_SECONDS = {30: tuple(30 + 0.7 * step for step in range(6))}
"""With FULL."""

AT_ONCE = 8
"""Short jobs that are waited for at once: more polls would keep one another waiting."""
SHORT_AFTER_SECONDS = 2.0
"""Short jobs begin when the long ones are polled less often."""


@subject(
    "Waiting for a job",
    "From the time that the script writes with its last command (`date`) to the return of the "
    f"block; jobs of many lengths, up to {AT_ONCE} short ones and all longer ones at once.",
)
def wait(settings: Settings) -> Iterator[Row]:
    load_block("wait-for-job")
    longer = {**LONG_SECONDS, **(VERY_LONG_SECONDS if settings.full else {})}
    script = {"sleep": 'sleep "$1"\ndate +%s.%N > "$2"'}
    numbers = itertools.count()

    def late(seconds: float) -> float:
        """Run a job of that long; returns how many seconds later its end is seen."""
        ended = settings.folder / f"ended-{next(numbers)}"
        job_id = runner.submit("sleep", f"{seconds:.2f}", str(ended))
        outputs = call_block("wait-for-job", runner.url, job_id=job_id, timeout_seconds=120)
        seen = time.time()
        assert outputs["status"] == "completed"
        return seen - float(ended.read_text(encoding="utf-8"))

    with (
        runner_in(settings.folder / "runner", script, maxConcurrent=100) as runner,
        ThreadPoolExecutor(sum(map(len, longer.values()))) as long_pool,
        ThreadPoolExecutor(AT_ONCE) as short_pool,
    ):
        begun = {name: [long_pool.submit(late, each) for each in longer[name]] for name in longer}
        time.sleep(SHORT_AFTER_SECONDS)
        milliseconds = [1000 * seconds for seconds in short_pool.map(late, SHORT_SECONDS)]
        lates = {name: [one.result() for one in waiting] for name, waiting in begun.items()}
    yield Row(
        "`wait-for-job`: how late it sees the end of jobs of 0.2 to 1.8 s",
        f"median {median(milliseconds):.0f} ms, slowest {max(milliseconds):.0f} ms",
        "the end of the script",
        median(milliseconds),
        "ms",
        most=100,
    )
    for name, found in lates.items():
        pairs = zip(found, longer[name], strict=True)
        shares = [100 * seconds / run_seconds for seconds, run_seconds in pairs]
        yield Row(
            f"`wait-for-job`: the same for jobs of about {name} s, as a share of their run time",
            f"median {duration(median(found))}, slowest {max(shares):.1f} %",
            "the end of the script",
            median(shares),
            "%",
            most=5,
        )


RUNS = 200
"""The number of runs of the table."""
CROWDS = (1, 8, 32, 100, RUNS)
LARGEST_CROWD = 500
"""With FULL."""

CANCEL_AFTER_SECONDS = 0.5
"""When the cancel is sent: all runs are under way, none has ended."""


@dataclass(frozen=True)
class Crowd:
    """Seconds until all runs have returned, of a cancel meanwhile, and of bare processes."""

    runs: float
    cancel: float
    bare: float


@subject(
    "Many at once",
    "A thread for each `run-script-sync`, as OOMOL's executor has them, and as many slots in the "
    "local runner; from the moment all are let go to the last return. The bare processes are "
    "started by one thread just before.",
)
def sync_runs(settings: Settings) -> Iterator[Row | Plot]:
    sizes = [*CROWDS, *([LARGEST_CROWD] if settings.full else [])]
    for block in ("run-script-sync", "cancel-job"):
        load_block(block)
    scripts = {"sleep": "exec sleep 1", "endless": "exec sleep 3600"}
    folder = settings.folder / "runner"
    with runner_in(folder, scripts, maxConcurrent=2 * LARGEST_CROWD) as runner:
        crowds = {
            size: _crowd(runner, size, rounds=3 if settings.full or size == RUNS else 1)
            for size in sizes
        }
    crowd = crowds[RUNS]
    compared = f"`sleep 1`: 1 s ({RUNS} bare processes at once: {duration(crowd.bare)})"
    what = f"{RUNS} sync runs of `sleep 1` at once, none failed"
    yield Row(what, duration(crowd.runs), compared, crowd.runs, "s", most=2)
    what = "a `cancel-job` meanwhile, the slowest"
    yield Row(what, duration(crowd.cancel), "", 1000 * crowd.cancel, "ms", most=500)
    curves = {
        "until all have returned": {float(size): crowds[size].runs for size in crowds},
        "bare processes": {float(size): crowds[size].bare for size in crowds},
        "a cancel meanwhile": {float(size): crowds[size].cancel for size in crowds},
    }
    yield Plot("sync-runs", "Sync runs of `sleep 1` at once", "runs at once", "seconds", curves)


def _crowd(runner: RunnerProcess, size: int, rounds: int) -> Crowd:
    measured = [_once(runner, size) for _ in range(rounds)]
    return Crowd(
        median(one.runs for one in measured),
        max(one.cancel for one in measured),
        median(one.bare for one in measured),
    )


def _once(runner: RunnerProcess, size: int) -> Crowd:
    bare = seconds_of(lambda: _bare_processes(runner.folder / "sleep.sh", size))
    to_cancel = runner.submit("endless")
    gate = threading.Barrier(size + 1)

    def run(_: int) -> float:
        gate.wait()
        outputs = call_block("run-script-sync", runner.url, script_id="sleep")
        if outputs["status"] != "completed":
            raise BenchmarkFailed(f"a sync run among {size} failed: {outputs}")
        return time.perf_counter()

    with ThreadPoolExecutor(size) as pool:
        running = [pool.submit(run, number) for number in range(size)]
        gate.wait()
        begun = time.perf_counter()
        time.sleep(CANCEL_AFTER_SECONDS)
        cancel = seconds_of(lambda: call_block("cancel-job", runner.url, job_id=to_cancel))
        last = max(one.result() for one in running)
    if runner.ended(to_cancel)["status"] != "canceled":
        raise BenchmarkFailed("the job that was cancelled was not")
    return Crowd(last - begun, cancel, bare)


def _bare_processes(script: Path, size: int) -> None:
    processes = [subprocess.Popen([script]) for _ in range(size)]
    for process in processes:
        process.wait()
