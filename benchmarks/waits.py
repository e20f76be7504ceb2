"""How soon `wait-for-job` sees that a job has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.blocks import call_block, load_block
from benchmarks.figures import Benchmark, Result, Row, Settings, at_most
from benchmarks.runner import LocalRunner

SHORT_SECONDS = tuple(0.2 + 0.05 * step for step in range(33))
"""0.2 to 1.8 s."""
LONG_SECONDS: Mapping[int, Sequence[float]] = {
    4: tuple(4 + 0.1 * step for step in range(6)),
    8: tuple(8 + 0.2 * step for step in range(6)),
}
"""Run times of longer jobs, by the name of their row."""
VERY_LONG_SECONDS = tuple(30 + 0.7 * step for step in range(6))
"""With FULL."""

AT_ONCE = 8
"""Short jobs that are waited for at once: more looks would keep one another waiting."""
SHORT_AFTER_SECONDS = 2.0
"""Short jobs begin when the long ones are looked at less often."""

SCRIPT = 'sleep "$1"\ndate +%s.%N > "$2"'


@dataclass(frozen=True)
class _Wait:
    """One job that was waited for: how long it ran, and how long its end was not seen."""

    run_seconds: float
    late_seconds: float


class _Waits:
    """Starts jobs, waits for them with the block, each in a thread."""

    def __init__(self, runner: LocalRunner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._started = 0

    def wait(self, seconds: float) -> _Wait:
        with self._lock:
            self._started += 1
            ended: Path = self._runner.folder / f"ended-{self._started}"
        url = self._runner.url
        job_id = self._runner.run("sleep", f"{seconds:.2f}", str(ended), mode="async")["jobId"]
        outputs = call_block("wait-for-job", url, job_id=job_id, timeout_seconds=120)
        seen = time.time()
        assert outputs["status"] == "completed"
        return _Wait(seconds, seen - float(ended.read_text(encoding="utf-8")))


def _measure(settings: Settings) -> Result:
    load_block("wait-for-job")
    longer = dict(LONG_SECONDS)
    if settings.full:
        longer[30] = VERY_LONG_SECONDS
    count = sum(len(times) for times in longer.values())
    with (
        LocalRunner(settings.folder / "runner", {"sleep": SCRIPT}, maxConcurrent=100) as runner,
        ThreadPoolExecutor(count) as long_pool,
        ThreadPoolExecutor(AT_ONCE) as short_pool,
    ):
        waits = _Waits(runner)
        begun = {
            name: [long_pool.submit(waits.wait, seconds) for seconds in times]
            for name, times in longer.items()
        }
        time.sleep(SHORT_AFTER_SECONDS)
        short = list(short_pool.map(waits.wait, SHORT_SECONDS))
        long = {name: [one.result() for one in waiting] for name, waiting in begun.items()}
    return Result([_short_row(short), *(_long_row(name, ended) for name, ended in long.items())])


def _short_row(waits: Sequence[_Wait]) -> Row:
    late = [1000 * wait.late_seconds for wait in waits]
    return Row(
        "`wait-for-job`: how late it sees the end of jobs of 0.2 to 1.8 s",
        f"median {median(late):.0f} ms, slowest {max(late):.0f} ms",
        "the end of the script",
        median(late),
        "ms",
        at_most(100),
    )


def _long_row(name: int, waits: Sequence[_Wait]) -> Row:
    shares = [100 * wait.late_seconds / wait.run_seconds for wait in waits]
    late = median(1000 * wait.late_seconds for wait in waits)
    return Row(
        f"`wait-for-job`: the same for jobs of about {name} s, as a share of their run time",
        f"median {late:.0f} ms, slowest {max(shares):.1f} %",
        "the end of the script",
        median(shares),
        "%",
        at_most(5),
    )


WAITS = Benchmark(
    "wait",
    "Waiting for a job",
    "From the time that the script writes with its last command (`date`) to the return of the "
    f"block; jobs of many lengths, up to {AT_ONCE} short ones and all longer ones at once.",
    _measure,
)
