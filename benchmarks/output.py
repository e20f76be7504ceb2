"""The whole output of a sync run."""

from __future__ import annotations

from statistics import median

from benchmarks.child import measure
from benchmarks.figures import Benchmark, Result, Row, Settings, at_most, duration
from benchmarks.log_files import LINE_BYTES, MEGABYTE, job_of, runner_for_logs, write_lines
from benchmarks.timing import interleaved_figures

OUTPUT_BYTES = 50 * MEGABYTE


def _measure(settings: Settings) -> Result:
    file = write_lines(settings.folder / "lines.txt")
    with runner_for_logs(settings.folder / "runner") as runner:
        job_id = job_of(runner, file, OUTPUT_BYTES // LINE_BYTES)
        figures = interleaved_figures(
            {
                "output": lambda: measure("output", runner.url, job_id).seconds,
                "pass": lambda: measure("pass", runner.url, job_id).seconds,
            },
            rounds=15 if settings.full else 5,
            warm_up=1,
        )
    whole, one_pass = median(figures["output"]), median(figures["pass"])
    return Result(
        [
            Row(
                "the whole output of a run that printed 50 MB",
                duration(whole),
                f"one pass by `httpx.Client` in pages of 1 MiB: {duration(one_pass)}",
                whole / one_pass,
                reach=at_most(1.5),
            )
        ]
    )


WHOLE_OUTPUT = Benchmark(
    "whole-output",
    "The output of a sync run",
    "What `run-script-sync` does when the script has ended (`whole_output`), without the run "
    "itself: in new processes, their start and import taken out, in turns with the pass; medians.",
    _measure,
)
