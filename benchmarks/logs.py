"""Lines out of a large log: the first page, later ones, all of them; time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.figures import Plot, Row, Settings, short, slower, subject
from benchmarks.measuring import MEGABYTE, call_block, run_python, runner_in, timed_in_turns
from benchmarks.reader import page_of
from scripts.runner_process import RunnerProcess

LINE_BYTES = 85
LINES = 1_000_000
"""Lines of the log of the table: 85 MB."""
OTHER_LINES = (12_000, 100_000, 350_000)
"""Of the other logs of the plot."""
FULL_LINES = (3_500_000, 12_000_000)
"""More of them, up to 1 GB, with FULL."""

DIFFERENT_LINES = 10_000
"""They are repeated, which takes less time to write."""
CHINESE_EVERY = 100
PAGE_LINES = 100
WALK_LINES = 1_000
OUTPUT_LINES = 50 * MEGABYTE // LINE_BYTES
JOB_SECONDS = 300.0

PASS = "one pass by `httpx.Client` in pages of 1 MiB"
PRINT = {"print": 'n=0\nwhile [ $n -lt "$2" ]; do cat "$1"; n=$((n + 1)); done\nhead -c "$3" "$1"'}
"""Prints a file so many times, and then so many of its first bytes."""


FIRST: dict[str, tuple[object, ...]] = {
    "bare": ("pass",),
    "page": ("lines", 0, PAGE_LINES, PAGE_LINES),
}
"""What is read of every log, as works of `benchmarks.reader`."""

LATE = LINES - PAGE_LINES
OF_THE_TABLE: dict[str, tuple[object, ...]] = {
    "last": ("lines", LATE, LINES, PAGE_LINES),
    "walk": ("lines", 0, LINES, WALK_LINES),
}
"""What is read of the log of the table besides."""


@dataclass(frozen=True)
class Reading:
    """What it took to read: seconds, and bytes of memory above what was resident before."""

    seconds: float
    bytes_above: float


def runner_for_logs(folder: Path) -> RunnerProcess:
    """A local runner, not started, that keeps logs of any size."""
    return runner_in(folder, PRINT, maxLogBytesPerStream=2**40)


def write_lines(path: Path, *, chinese_every: int | None = None) -> Path:
    """Write a million lines of 85 bytes, ASCII or some of them with Chinese words."""
    block = b"".join(
        _line(number, chinese_every is not None and number % chinese_every == 0)
        for number in range(DIFFERENT_LINES)
    )
    with path.open("wb") as file:
        for _ in range(LINES // DIFFERENT_LINES):
            file.write(block)
    return path


def _line(number: int, has_chinese: bool) -> bytes:
    words = "日志的一行" if has_chinese else "one line of a log"
    line = f"{number:07d} worker-{number % 7} {words}".encode()
    return line.ljust(LINE_BYTES - 1, b".") + b"\n"


def job_of(runner: RunnerProcess, path: Path, lines: int) -> str:
    """Run a job whose stdout log has so many lines of a file; returns its id."""
    whole, rest = divmod(lines, LINES)
    job_id = runner.submit("print", str(path), str(whole), str(rest * LINE_BYTES))
    assert runner.ended(job_id, JOB_SECONDS)["status"] == "succeeded"
    return job_id


def read_in_turns(
    runner: RunnerProcess, job_id: str, rounds: int, **works: tuple[object, ...]
) -> Mapping[str, Reading]:
    """Read a log in new processes in turns.

    Args:
        runner: Who has the log.
        job_id: Whose log it is.
        rounds: How many processes of each.
        works: The name of a work of `benchmarks.reader` and its numbers, by the name of its result.

    Returns:
        The median of the times and the most of the memory.
    """
    readings: dict[str, list[list[float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, *numbers) in works.items():
            arguments = [str(work), runner.url, job_id, *map(str, numbers)]
            printed = run_python("-m", "benchmarks.reader", *arguments)
            readings[name].append([float(number) for number in printed.split()])
    return {
        name: Reading(median(one[0] for one in several), max(one[1] for one in several))
        for name, several in readings.items()
    }


def _later_pages(runner: RunnerProcess, job_id: str) -> dict[str, float]:
    """The seconds of pages of a log that this process has read before."""

    url = runner.url

    def read(line: int) -> object:
        inputs = {"job_id": job_id, "offset": line, "limit": PAGE_LINES}
        return call_block("get-job-logs", url, **inputs)

    start, size = LATE * LINE_BYTES, PAGE_LINES * LINE_BYTES
    with httpx.Client() as client:
        works = {
            "early": lambda: read(PAGE_LINES),
            "late": lambda: read(LATE),
            "bare": lambda: page_of(client, url, job_id, start, size),
        }
        return timed_in_turns(works, rounds=200)


@subject(
    "Lines of a large log",
    "`get-job-logs` on a log of 1,000,000 lines of 85 bytes, ASCII but in one row. What was never "
    "read before is read by new processes, their start and import taken out, in turns with the "
    "pass, a later page by one process in turns with the GET; medians. Memory is the peak of a new "
    "process less what was resident before the call, the worst of all rounds.",
)
def large_log(settings: Settings) -> Iterator[Row | Plot]:
    rounds = 5 if settings.full else 3
    sizes = sorted([*OTHER_LINES, LINES, *(FULL_LINES if settings.full else ())])
    file = write_lines(settings.folder / "lines.txt")
    chinese_file = write_lines(settings.folder / "chinese.txt", chinese_every=CHINESE_EVERY)
    with runner_for_logs(settings.folder / "runner") as runner:
        read = {}
        for lines in sizes:
            works = FIRST | (OF_THE_TABLE if lines == LINES else {})
            job_id = job_of(runner, file, lines)
            read[lines] = read_in_turns(runner, job_id, rounds, **works)
            if lines == LINES:
                later = _later_pages(runner, job_id)
        chinese = read_in_turns(runner, job_of(runner, chinese_file, LINES), rounds, **FIRST)
    what = f"log of {_megabytes(LINES)} MB"
    never = f"{what}: the first page, never read before"
    in_chinese = f"{never}, if one line in {CHINESE_EVERY} is Chinese"
    for title, readings, ours, most in (
        (never, read[LINES], "page", 1.1),
        (in_chinese, chinese, "page", 1.3),
        (f"{what}: the last page, never read before", read[LINES], "last", 1.3),
        (f"{what}: walked to its end by 1,000 lines a call", read[LINES], "walk", 2),
    ):
        yield slower(title, readings[ours].seconds, PASS, readings["bare"].seconds, most=most)
    title = f"{what}: a later page of {PAGE_LINES} lines, at line {LATE:,}"
    bare = ("a GET of the same bytes by a warm `httpx.Client`", later["bare"])
    yield slower(title, later["late"], *bare, most=2)
    bare = (f"the page at line {PAGE_LINES}", later["early"])
    yield slower(f"{what}: that page", later["late"], *bare, most=1.1)
    largest = read[sizes[-1]]
    yield Row(
        f"log of {_megabytes(sizes[-1])} MB: memory above start for its first page",
        f"{short(largest['page'].bytes_above / MEGABYTE)} MB",
        f"{PASS}: {short(largest['bare'].bytes_above / MEGABYTE)} MB",
        largest["page"].bytes_above / MEGABYTE,
        "MB",
        most=32,
    )
    yield Plot(
        "log-first-page",
        "The first page of a log that was never read before",
        "size of the log (MB)",
        "seconds",
        {
            f"first page of {PAGE_LINES} lines": _by_size(read, "page"),
            "one pass by httpx": _by_size(read, "bare"),
        },
        is_logarithmic=True,
    )


def _megabytes(lines: int) -> int:
    return lines * LINE_BYTES // MEGABYTE


def _by_size(read: Mapping[int, Mapping[str, Reading]], name: str) -> dict[float, float]:
    return {lines * LINE_BYTES / MEGABYTE: one[name].seconds for lines, one in read.items()}


@subject(
    "The output of a sync run",
    "What `run-script-sync` does when the script has ended, without the run itself: in new "
    "processes, their start and import taken out, in turns with the pass; medians.",
)
def whole_output(settings: Settings) -> Iterator[Row]:
    file = write_lines(settings.folder / "lines.txt")
    with runner_for_logs(settings.folder / "runner") as runner:
        job_id = job_of(runner, file, OUTPUT_LINES)
        rounds = 15 if settings.full else 4
        read = read_in_turns(runner, job_id, rounds, output=("output",), bare=("pass",))
    what = "the whole output of a run that printed 50 MB"
    yield slower(what, read["output"].seconds, PASS, read["bare"].seconds, most=1.5)
