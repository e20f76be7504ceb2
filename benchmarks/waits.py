"""How soon `wait-for-job` sees an end, and how many sync runs may wait at once."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks.figures import Row, Settings, duration, subject
from benchmarks.measuring import BenchmarkFailed, call_block, runner_in, seconds_of
from scripts.blocks import load_block
from scripts.runner_process import RunnerProcess

SHORT_SECONDS = tuple(0.2 + 0.05 * step for step in range(33))
"""0.2 to 1.8 s."""
LONG_JOBS = 6

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
    about = 30 if settings.full else 8
    longer = [about * (1 + number / 40) for number in range(LONG_JOBS)]
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
        ThreadPoolExecutor(LONG_JOBS) as long_pool,
        ThreadPoolExecutor(AT_ONCE) as short_pool,
    ):
        waiting = [long_pool.submit(late, seconds) for seconds in longer]
        time.sleep(SHORT_AFTER_SECONDS)
        milliseconds = [1000 * seconds for seconds in short_pool.map(late, SHORT_SECONDS)]
        lates = [one.result() for one in waiting]
    yield Row(
        "`wait-for-job`: how late it sees the end of jobs of 0.2 to 1.8 s",
        f"median {median(milliseconds):.0f} ms, slowest {max(milliseconds):.0f} ms",
        "the end of the script",
        median(milliseconds),
        "ms",
        most=100,
    )
    shares = [100 * found / seconds for found, seconds in zip(lates, longer, strict=True)]
    yield Row(
        f"`wait-for-job`: the same for jobs of about {about} s, as a share of their run time",
        f"median {duration(median(lates))}, slowest {max(shares):.1f} %",
        "the end of the script",
        median(shares),
        "%",
        most=5,
    )


RUNS = 200
CANCEL_AFTER_SECONDS = 0.5
"""When the cancel is sent: all runs are under way, none has ended."""


@subject(
    "Many at once",
    "A thread for each `run-script-sync`, as OOMOL's executor has them, and as many slots in the "
    "local runner; from the moment all are let go to the last return; medians. The bare processes "
    "are started by one thread just before.",
)
def sync_runs(settings: Settings) -> Iterator[Row]:
    for block in ("run-script-sync", "cancel-job"):
        load_block(block)
    scripts = {"sleep": "exec sleep 1", "endless": "exec sleep 3600"}
    with runner_in(settings.folder / "runner", scripts, maxConcurrent=2 * RUNS) as runner:
        rounds = [_round(runner) for _ in range(5 if settings.full else 3)]
    bare, runs, cancel = (sorted(each) for each in zip(*rounds, strict=True))
    compared = f"`sleep 1`: 1 s ({RUNS} bare processes at once: {duration(median(bare))})"
    what = f"{RUNS} sync runs of `sleep 1` at once, none failed"
    yield Row(what, duration(median(runs)), compared, median(runs), "s", most=2)
    what = "a `cancel-job` meanwhile, the slowest"
    yield Row(what, duration(cancel[-1]), "", 1000 * cancel[-1], "ms", most=500)


def _round(runner: RunnerProcess) -> tuple[float, float, float]:
    """The seconds of so many bare processes, of so many runs, and of a cancel meanwhile."""
    bare = seconds_of(lambda: _bare_processes(runner.folder / "sleep.sh"))
    to_cancel = runner.submit("endless")
    gate = threading.Barrier(RUNS + 1)

    def run(_: int) -> float:
        gate.wait()
        outputs = call_block("run-script-sync", runner.url, script_id="sleep")
        if outputs["status"] != "completed":
            raise BenchmarkFailed(f"a sync run among {RUNS} failed: {outputs}")
        return time.perf_counter()

    with ThreadPoolExecutor(RUNS) as pool:
        running = [pool.submit(run, number) for number in range(RUNS)]
        gate.wait()
        begun = time.perf_counter()
        time.sleep(CANCEL_AFTER_SECONDS)
        cancel = seconds_of(lambda: call_block("cancel-job", runner.url, job_id=to_cancel))
        last = max(one.result() for one in running)
    if runner.ended(to_cancel)["status"] != "canceled":
        raise BenchmarkFailed("the job that was cancelled was not")
    return bare, last - begun, cancel


def _bare_processes(script: Path) -> None:
    processes = [subprocess.Popen([script]) for _ in range(RUNS)]
    for process in processes:
        process.wait()
