"""Lines out of a large log: the first page, later ones, all of them; time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import httpx

from benchmarks.blocks import call_block
from benchmarks.child import Reading, bare_page, measure
from benchmarks.figures import Benchmark, Result, Settings
from benchmarks.large_log_rows import (
    LogFigures,
    chinese_row,
    first_page_rows,
    later_page_rows,
    memory_row,
    plots,
    walk_row,
)
from benchmarks.log_files import LINE_BYTES, MEGABYTE, job_of, runner_for_logs, write_lines
from benchmarks.runner import LocalRunner
from benchmarks.timing import interleaved

LINES = 1_000_000
"""Lines of the log of the table: 85 MB."""
SMALLER_LOGS = (12_000, 100_000, 350_000)
LARGER_LOGS = (3_500_000, 12_000_000)
"""Lines of the other logs of the plots; the larger ones, up to 1 GB, with FULL."""

PAGE_LINES = 100
WALK_LINES = 1_000
LATER_PAGES = 200
"""How often a later page is read."""

Work = tuple[str, tuple[int, ...]]
"""A work of `benchmarks.child` and its numbers."""

FIRST_WORKS: Mapping[str, Work] = {"pass": ("pass", ()), "first page": ("page", (0, PAGE_LINES))}
"""What is done with every log by processes that have not read it before."""


@dataclass(frozen=True)
class _Log:
    job_id: str
    lines: int


def _measure(settings: Settings) -> Result:
    sizes = [*SMALLER_LOGS, LINES, *(LARGER_LOGS if settings.full else ())]
    file = write_lines(settings.folder / "lines.txt")
    chinese_file = write_lines(settings.folder / "chinese.txt", with_chinese=True)
    with runner_for_logs(settings.folder / "runner") as runner:
        logs = [_Log(job_of(runner, file, lines), lines) for lines in sizes]
        by_lines = {
            log.lines: LogFigures(
                log.lines * LINE_BYTES / MEGABYTE,
                _first_readings(runner, log, settings),
                _later_pages(runner, log),
            )
            for log in logs
        }
        chinese = _Log(job_of(runner, chinese_file, LINES), LINES)
        chinese_readings = _medians(runner, chinese, FIRST_WORKS, rounds=5)
        walks = _walk(runner, logs[sizes.index(LINES)], rounds=3 if settings.full else 2)
    figures = by_lines[LINES]
    return Result(
        [
            *first_page_rows(figures),
            chinese_row(figures, chinese_readings),
            *later_page_rows(figures),
            walk_row(figures, walks["walk"], walks["pass"]),
            *(memory_row(by_lines[lines]) for lines in sorted({sizes[0], LINES, sizes[-1]})),
        ],
        plots(list(by_lines.values())),
    )


def _first_readings(runner: LocalRunner, log: _Log, settings: Settings) -> Mapping[str, Reading]:
    """Readings by processes that have not read the log before."""
    last_page: Work = ("page", (log.lines - PAGE_LINES, PAGE_LINES))
    works = {**FIRST_WORKS, "last page": last_page}
    many = log.lines == LINES or (settings.full and log.lines < LINES)
    return _medians(runner, log, works, rounds=5 if many else 3)


def _walk(runner: LocalRunner, log: _Log, rounds: int) -> Mapping[str, Reading]:
    works: dict[str, Work] = {"pass": ("pass", ()), "walk": ("walk", (log.lines, WALK_LINES))}
    return _medians(runner, log, works, rounds)


def _medians(
    runner: LocalRunner, log: _Log, works: Mapping[str, Work], rounds: int
) -> Mapping[str, Reading]:
    """Do the works in turns; the median of the times and the worst of the memory of each."""
    readings: dict[str, list[Reading]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, numbers) in works.items():
            readings[name].append(measure(work, runner.url, log.job_id, *numbers))
    return {
        name: Reading(
            median(reading.seconds for reading in values),
            max(reading.bytes_above_start for reading in values),
        )
        for name, values in readings.items()
    }


def _later_pages(runner: LocalRunner, log: _Log) -> Mapping[str, float]:
    """Median seconds of pages of a log that this process has read before, and of bare GETs."""

    def read(first: int) -> object:
        return call_block(
            "get-job-logs", runner.url, job_id=log.job_id, offset=first, limit=PAGE_LINES
        )

    def get(first: int) -> object:
        size = PAGE_LINES * LINE_BYTES
        return bare_page(client, runner.url, log.job_id, first * LINE_BYTES, size)

    early, late = PAGE_LINES, log.lines - PAGE_LINES
    with httpx.Client() as client:
        return interleaved(
            {
                "block early": lambda: read(early),
                "block late": lambda: read(late),
                "httpx early": lambda: get(early),
                "httpx late": lambda: get(late),
            },
            LATER_PAGES,
        )


LARGE_LOG = Benchmark(
    "large-log",
    "Lines of a large log",
    "`get-job-logs` on a log of 1,000,000 lines of 85 bytes, ASCII but in one row. What was never "
    "read before is read by new processes, their start and import taken out, in turns with the "
    "pass; a later page by one process in turns with the GET; medians. Memory is the peak of such "
    "a process less what was resident before the call, the worst of all rounds.",
    _measure,
)
