"""Jobs with large logs: their scripts print a file that was prepared before."""

from __future__ import annotations

from pathlib import Path

from benchmarks.runner import LocalRunner

LINE_BYTES = 85
FILE_LINES = 1_000_000
NUMBERED_LINES = 10_000
"""So many lines are different; they are repeated, which takes less time to write."""
MEGABYTE = 1_000_000

CHINESE_EVERY = 100
"""Of so many lines one is Chinese, in a file that has such lines."""

_PRINT = 'n=0\nwhile [ $n -lt "$2" ]; do cat "$1"; n=$((n + 1)); done\nhead -c "$3" "$1"'
"""Prints a file so many times, and then so many of its first bytes."""


def runner_for_logs(folder: Path) -> LocalRunner:
    """A local runner, not started, that keeps logs of any size; `job_of` runs its script."""
    return LocalRunner(folder, {"print": _PRINT}, maxLogBytesPerStream=2**40)


def write_lines(path: Path, *, with_chinese: bool = False) -> Path:
    """Write a million lines of 85 bytes, all of them ASCII or some of them Chinese."""
    block = b"".join(
        _line(number, is_chinese=with_chinese and number % CHINESE_EVERY == 0)
        for number in range(NUMBERED_LINES)
    )
    with path.open("wb") as file:
        for _ in range(FILE_LINES // NUMBERED_LINES):
            file.write(block)
    return path


def _line(number: int, *, is_chinese: bool) -> bytes:
    words = "日志的一行" if is_chinese else "one line of a log"
    line = f"{number:07d} worker-{number % 7} {words}".encode()
    return line.ljust(LINE_BYTES - 1, b".") + b"\n"


def job_of(runner: LocalRunner, path: Path, lines: int) -> str:
    """Run a job whose stdout log has so many lines of a file; returns its id."""
    whole, rest = divmod(lines, FILE_LINES)
    return runner.succeeded("print", str(path), str(whole), str(rest * LINE_BYTES))
