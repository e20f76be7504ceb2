"""Lines out of a large log: the first page, later ones, all of them; time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from benchmarks.child import page_of
from benchmarks.figures import Plot, Row, Settings, short, slower, subject
from benchmarks.measuring import MEGABYTE, call_block, run_python, runner_in, timed_in_turns
from scripts.runner_process import RunnerProcess

LINE_BYTES = 85
LINES = 1_000_000
"""Lines of the log of the table: 85 MB."""
OTHER_LINES = (12_000, 100_000, 350_000)
"""Of the other logs of the plots."""
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

Work = tuple[object, ...]
"""The name of a work of `benchmarks.child` and its numbers."""


@dataclass(frozen=True)
class Reading:
    """What it took to read: seconds, and bytes of memory above what was resident before."""

    seconds: float
    bytes_above: float


def runner_for_logs(folder: Path) -> RunnerProcess:
    """A local runner, not started, that keeps logs of any size."""
    return runner_in(folder, PRINT, maxLogBytesPerStream=2**40)


def write_lines(path: Path, *, with_chinese: bool = False) -> Path:
    """Write a million lines of 85 bytes, all of them ASCII or some of them Chinese."""
    block = b"".join(
        _line(number, is_chinese=with_chinese and number % CHINESE_EVERY == 0)
        for number in range(DIFFERENT_LINES)
    )
    with path.open("wb") as file:
        for _ in range(LINES // DIFFERENT_LINES):
            file.write(block)
    return path


def _line(number: int, *, is_chinese: bool) -> bytes:
    words = "日志的一行" if is_chinese else "one line of a log"
    line = f"{number:07d} worker-{number % 7} {words}".encode()
    return line.ljust(LINE_BYTES - 1, b".") + b"\n"


def job_of(runner: RunnerProcess, path: Path, lines: int) -> str:
    """Run a job whose stdout log has so many lines of a file; returns its id."""
    whole, rest = divmod(lines, LINES)
    job_id = runner.submit("print", str(path), str(whole), str(rest * LINE_BYTES))
    assert runner.ended(job_id, JOB_SECONDS)["status"] == "succeeded"
    return job_id


def read_in_turns(
    runner: RunnerProcess, job_id: str, works: Mapping[str, Work], rounds: int
) -> Mapping[str, Reading]:
    """Do works in new processes in turns; the median of the times, the most of the memory."""
    readings: dict[str, list[list[float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, (work, *numbers) in works.items():
            arguments = [str(work), runner.url, job_id, *map(str, numbers)]
            printed = run_python("-m", "benchmarks.child", *arguments)
            readings[name].append([float(number) for number in printed.split()])
    return {
        name: Reading(median(one[0] for one in several), max(one[1] for one in several))
        for name, several in readings.items()
    }


@dataclass(frozen=True)
class Log:
    """A log and what it took to read it, by processes that had not and by one that had."""

    job_id: str
    lines: int
    first: Mapping[str, Reading]
    later: Mapping[str, float]

    @property
    def megabytes(self) -> float:
        """Its size."""
        return self.lines * LINE_BYTES / MEGABYTE

    @property
    def page_megabytes(self) -> float:
        """The memory of the page that needed more."""
        pages = (self.first["first page"], self.first["last page"])
        return max(page.bytes_above for page in pages) / MEGABYTE


def _read_log(runner: RunnerProcess, file: Path, lines: int, rounds: int) -> Log:
    job_id = job_of(runner, file, lines)
    works: dict[str, Work] = {
        "pass": ("pass",),
        "first page": ("page", 0, PAGE_LINES),
        "last page": ("page", lines - PAGE_LINES, PAGE_LINES),
    }
    first = read_in_turns(runner, job_id, works, rounds)

    def read(line: int) -> object:
        inputs = {"job_id": job_id, "offset": line, "limit": PAGE_LINES}
        return call_block("get-job-logs", runner.url, **inputs)

    def get(line: int) -> object:
        start, size = line * LINE_BYTES, PAGE_LINES * LINE_BYTES
        return page_of(client, runner.url, job_id, start, size)

    with httpx.Client() as client:
        later = timed_in_turns(
            {
                "block early": lambda: read(PAGE_LINES),
                "block late": lambda: read(lines - PAGE_LINES),
                "httpx early": lambda: get(PAGE_LINES),
                "httpx late": lambda: get(lines - PAGE_LINES),
            },
            rounds=200,
        )
    return Log(job_id, lines, first, later)


@subject(
    "Lines of a large log",
    "`get-job-logs` on a log of 1,000,000 lines of 85 bytes, ASCII but in one row. What was never "
    "read before is read by new processes, their start and import taken out, in turns with the "
    "pass; a later page by one process in turns with the GET; medians. Memory is the peak of such "
    "a process less what was resident before the call, the worst of all rounds.",
)
def large_log(settings: Settings) -> Iterator[Row | Plot]:
    rounds = 5 if settings.full else 3
    sizes = sorted([*OTHER_LINES, LINES, *(FULL_LINES if settings.full else ())])
    file = write_lines(settings.folder / "lines.txt")
    chinese_file = write_lines(settings.folder / "chinese.txt", with_chinese=True)
    with runner_for_logs(settings.folder / "runner") as runner:
        logs = {lines: _read_log(runner, file, lines, rounds) for lines in sizes}
        first: dict[str, Work] = {"pass": ("pass",), "page": ("page", 0, PAGE_LINES)}
        chinese = read_in_turns(runner, job_of(runner, chinese_file, LINES), first, rounds)
        whole: dict[str, Work] = {"pass": ("pass",), "walk": ("walk", LINES, WALK_LINES)}
        walked = read_in_turns(runner, logs[LINES].job_id, whole, 3 if settings.full else 2)
    log = logs[LINES]
    what = f"log of {log.megabytes:,.0f} MB"
    for where, most in (("first page", 1.1), ("last page", 1.3)):
        compared = (PASS, log.first["pass"].seconds)
        title = f"{what}: the {where}, never read before"
        yield slower(title, log.first[where].seconds, *compared, most=most)
    title = f"{what}: the first page, never read before, if one line in {CHINESE_EVERY} is Chinese"
    yield slower(title, chinese["page"].seconds, PASS, chinese["pass"].seconds, most=1.3)
    for where, line in (("early", PAGE_LINES), ("late", LINES - PAGE_LINES)):
        bare = ("a GET of the same bytes by a warm `httpx.Client`", log.later[f"httpx {where}"])
        title = f"{what}: a later page of 100 lines, at line {line:,}"
        yield slower(title, log.later[f"block {where}"], *bare, most=2)
    title = f"{what}: a later page, at line {LINES - PAGE_LINES:,}"
    early = f"the page at line {PAGE_LINES}"
    yield slower(title, log.later["block late"], early, log.later["block early"], most=1.1)
    title = f"{what}: walked to its end by 1,000 lines a call"
    yield slower(title, walked["walk"].seconds, PASS, walked["pass"].seconds, most=2)
    for lines in sorted({sizes[0], LINES, sizes[-1]}):
        yield _memory_row(logs[lines])
    yield from _plots(list(logs.values()))


def _memory_row(log: Log) -> Row:
    shown = f"{PASS}: {short(log.first['pass'].bytes_above / MEGABYTE)} MB"
    what = f"log of {log.megabytes:,.0f} MB: memory above start for a page"
    measured = f"{short(log.page_megabytes)} MB"
    return Row(what, measured, shown, log.page_megabytes, "MB", most=32)


def _plots(logs: list[Log]) -> Iterator[Plot]:
    x_label = "size of the log (MB)"
    first = {
        "first page of 100 lines": {log.megabytes: log.first["first page"].seconds for log in logs},
        "last page of 100 lines": {log.megabytes: log.first["last page"].seconds for log in logs},
        "one pass by httpx": {log.megabytes: log.first["pass"].seconds for log in logs},
    }
    title = "Reading a log that was never read before"
    yield Plot("log-first-page", title, x_label, "seconds", first, is_logarithmic=True)
    later = {
        "block, at the start": {log.megabytes: 1000 * log.later["block early"] for log in logs},
        "block, at the end": {log.megabytes: 1000 * log.later["block late"] for log in logs},
        "GET by httpx, at the end": {log.megabytes: 1000 * log.later["httpx late"] for log in logs},
    }
    yield Plot("log-later-page", "A later page of 100 lines", x_label, "milliseconds", later)
    memory = {
        "block": {log.megabytes: log.page_megabytes for log in logs},
        "one pass by httpx": {
            log.megabytes: log.first["pass"].bytes_above / MEGABYTE for log in logs
        },
    }
    title = "Memory above start for a page never read before"
    yield Plot("log-memory", title, x_label, "MB", memory)


@subject(
    "The output of a sync run",
    "What `run-script-sync` does when the script has ended, without the run itself: in new "
    "processes, their start and import taken out, in turns with the pass; medians.",
)
def whole_output(settings: Settings) -> Iterator[Row]:
    file = write_lines(settings.folder / "lines.txt")
    with runner_for_logs(settings.folder / "runner") as runner:
        job_id = job_of(runner, file, OUTPUT_LINES)
        works: dict[str, Work] = {"output": ("output",), "pass": ("pass",)}
        read = read_in_turns(runner, job_id, works, rounds=15 if settings.full else 4)
    what = "the whole output of a run that printed 50 MB"
    yield slower(what, read["output"].seconds, PASS, read["pass"].seconds, most=1.5)
