"""Short jobs one after another."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.figures import Benchmark, Result, Row, Settings, at_least, short
from benchmarks.runner import LocalRunner
from benchmarks.timing import interleaved_figures, seconds_of

SCRIPT = {"quick": "echo done"}
SLICE_JOBS = 40


def rate_of(runner: LocalRunner, jobs: int = SLICE_JOBS) -> float:
    """Jobs per second of a local runner that gets them one after another, by a bare client."""
    return jobs / seconds_of(lambda: _repeat(jobs, lambda: runner.run("quick")))


def _bare_rate(script: Path) -> float:
    def run() -> None:
        subprocess.run([script], capture_output=True, check=True)

    return SLICE_JOBS / seconds_of(lambda: _repeat(SLICE_JOBS, run))


def _repeat(times: int, work: Callable[[], object]) -> None:
    for _ in range(times):
        work()


def _measure(settings: Settings) -> Result:
    with LocalRunner(settings.folder / "runner", SCRIPT) as runner:
        rates = interleaved_figures(
            {
                "runner": lambda: rate_of(runner),
                "bare": lambda: _bare_rate(runner.script("quick")),
            },
            rounds=50 if settings.full else 15,
            warm_up=1,
        )
    ours, bare = median(rates["runner"]), median(rates["bare"])
    return Result(
        [
            Row(
                "local runner: short jobs one after another",
                f"{short(ours)} jobs/s",
                f"a loop of `subprocess.run` of the same script: {short(bare)} jobs/s",
                ours / bare,
                reach=at_least(0.5),
            )
        ]
    )


SHORT_JOBS = Benchmark(
    "short-jobs",
    "Short jobs",
    "`POST /run` of a sync job, a two-line `sh` script, by a warm `httpx.Client`; slices of "
    f"{SLICE_JOBS} jobs in turns with slices of the loop; medians.",
    _measure,
)
