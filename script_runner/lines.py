"""The line view of a log: which line begins at which byte, and the lines themselves.

A line ends at a newline only; a carriage return before it is dropped; a last line without a
newline counts. The lines are those of `bytes.decode("utf-8", "replace")` of the whole log.
"""

from __future__ import annotations

import bisect
import contextlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from generated_client.models import LogPage
from script_runner import inputs
from script_runner.client import Runner
from script_runner.errors import InvalidResponse, RequestTimedOut, ScriptRunnerError
from script_runner.inputs import Stream
from script_runner.pages import (
    PAGE_BYTES,
    REPLACEMENT,
    PageSource,
    RunnerLog,
    has_shrunk,
    read_text,
    utf8_of,
    without_cut_character,
)

CHECKPOINT_BYTES = 8 * 1024
"""How far apart the remembered line starts of a log are at first: what a page reads too much."""

MAX_CHECKPOINTS = 65_536
"""The most line starts remembered of a log, 1 MiB of memory; then they are thinned out."""

MAX_INDEXES = 32
"""The most logs remembered; the one longest unused goes first."""

_REPLACEMENT = REPLACEMENT.encode()


@dataclass(frozen=True)
class LogLines:
    """Some lines of a log.

    Attributes:
        lines: The lines, without their ends.
        total_lines: Lines in the whole log, as far as it was when it was read.
        complete_lines: Those that end with a newline: all but perhaps the last.
        truncated: Whether the runner threw away what came after, because the log was full.
    """

    lines: list[str]
    total_lines: int
    complete_lines: int
    truncated: bool


class LineIndex:
    """Which line of a log begins where, as far as the log has been seen. Safe between threads."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self._starts = array("q", [0])
        self._numbers = array("q", [0])
        self._spacing = CHECKPOINT_BYTES
        self.size = 0
        """Bytes seen."""
        self.newlines = 0
        """Newlines in them."""
        self._ends_with_newline = True
        self.truncated = False
        """Whether the runner said that it threw away the rest."""

    @property
    def total_lines(self) -> int:
        """Lines seen, the last one also where it has no newline."""
        return self.newlines + (not self._ends_with_newline)

    def extend(self, source: PageSource) -> None:
        """See the rest of the log, up to where it ends now; what comes meanwhile is left.

        Raises:
            InvalidResponse: If the log is shorter than it was, or its pages do not advance.
        """
        end: int | None = None
        while end is None or self.size < end:
            page = source.page(self.size, PAGE_BYTES)
            end = page.total_size if end is None else end
            known = max(self.size, end)
            if page.total_size < known:
                raise has_shrunk(source, known, page.total_size)
            self.truncated = page.truncated
            raw = utf8_of(source, page)
            # Between whole characters more line starts are certain than between pages.
            text, whole = without_cut_character(source, page, page.total_size)
            if len(text) < len(page.data):
                raw = raw[: -len(page.data[len(text) :].encode())]
            self._add(text, raw, whole)

    def _add(self, text: str, raw: bytes, end: int) -> None:
        """See the text, also as UTF-8, of the bytes from what was seen to `end`."""
        if end == self.size:
            return
        self.newlines = self._remember_starts(text, raw, end)
        self.size = end
        self._ends_with_newline = raw.endswith(b"\n")
        while len(self._starts) > MAX_CHECKPOINTS:
            self._spacing *= 2
            self._starts = self._starts[::2]
            self._numbers = self._numbers[::2]

    def _remember_starts(self, text: str, raw: bytes, end: int) -> int:
        """Note line starts whose byte is certain: before and after what could not be decoded.

        Returns:
            How many newlines there are up to `end`.
        """
        # To look for a character in a text is faster than for its bytes.
        if REPLACEMENT not in text:
            return self._remember(raw, self.size, self.newlines)
        first = raw.find(_REPLACEMENT)
        last = raw.rfind(_REPLACEMENT) + len(_REPLACEMENT)
        before = self._remember(raw[:first], self.size, self.newlines)
        before += raw.count(b"\n", first, last)
        return self._remember(raw[last:], end - (len(raw) - last), before)

    def _remember(self, raw: bytes, offset: int, number: int) -> int:
        """Note line starts in a text whose first byte is at `offset`, in the line `number`.

        Returns:
            The number of the line in which it ends.
        """
        counted = 0
        while True:
            wanted = self._starts[-1] + self._spacing - offset
            newline = raw.find(b"\n", max(wanted - 1, counted))
            if newline < 0:
                return number + raw.count(b"\n", counted)
            number += raw.count(b"\n", counted, newline + 1)
            counted = newline + 1
            self._starts.append(offset + counted)
            self._numbers.append(number)

    def start_before(self, line: int) -> tuple[int, int]:
        """The last known line start at or before a line: its byte and its number."""
        index = bisect.bisect_right(self._numbers, line) - 1
        return self._starts[index], self._numbers[index]

    def start_after(self, line: int) -> int:
        """The first known line start at or after a line, or the end of what was seen."""
        index = bisect.bisect_left(self._numbers, line)
        return self._starts[index] if index < len(self._starts) else self.size


class _Indexes:
    """The indexes of the logs read last, by (URL, job id, stream)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_log: OrderedDict[tuple[str, str, str], LineIndex] = OrderedDict()

    def get(self, key: tuple[str, str, str]) -> LineIndex:
        with self._lock:
            index = self._by_log.setdefault(key, LineIndex())
            self._by_log.move_to_end(key)
            if len(self._by_log) > MAX_INDEXES:
                self._by_log.popitem(last=False)
            return index


_indexes = _Indexes()


def read_lines(
    runner: Runner, job_id: str, stream: Stream = "stdout", *, offset: int = 0, limit: int = 100
) -> LogLines:
    """Read lines of a log. What was counted once is not read again: a later page is one request.

    Args:
        runner: See `connect`.
        job_id: The job.
        stream: `stdout` or `stderr`.
        offset: The first line wanted, from 0; past the end there are none.
        limit: The most lines wanted.

    Raises:
        InvalidInput: If there is no such stream, offset or limit.
        ScriptRunnerError: See `Runner.call`; InvalidResponse also where the pages of the log
            do not fit together.
    """
    return lines_of_log(
        RunnerLog(runner, job_id, stream),
        offset=inputs.whole_number({"offset": offset}, "offset", default=0, least=0),
        limit=inputs.whole_number({"limit": limit}, "limit", default=100, least=1),
    )


def lines_of_log(log: RunnerLog, *, offset: int, limit: int) -> LogLines:
    """Read lines of a log as `read_lines` does, by the index that is remembered of it."""
    index = _indexes.get(log.key)
    with _held(index.lock, log):
        try:
            return lines_of(log, index, offset, limit)
        except BaseException as error:
            if isinstance(error, InvalidResponse) or not isinstance(error, ScriptRunnerError):
                # What was seen of this log cannot be trusted any more, or was half noted.
                index.forget()
            raise


@contextlib.contextmanager
def _held(lock: threading.Lock, log: RunnerLog) -> Iterator[None]:
    """Hold the lock of a log, which another call may be reading."""
    if not lock.acquire(timeout=log.seconds_left() if log.seconds_left else -1):
        raise RequestTimedOut(f"{log.name} is being read by another call. Try again.")
    try:
        yield
    finally:
        lock.release()


def lines_of(source: PageSource, index: LineIndex, offset: int, limit: int) -> LogLines:
    """Read lines of a log by its index, which is brought up to date.

    Args:
        source: Where the pages of the log come from.
        index: What is known of it.
        offset: The first line wanted, from 0.
        limit: The most lines wanted.
    """
    watched = _Watched(source)
    is_known = offset + limit <= index.newlines
    if not is_known:
        index.extend(source)
    end_line = min(offset + limit, index.total_lines)
    lines: list[str] = []
    if offset < end_line:
        start, number = index.start_before(offset)
        text = "".join(read_text(watched, start, index.start_after(end_line)))
        lines = split_lines(text)[offset - number : end_line - number]
    if is_known and watched.last is not None:
        # Else the lines and their number would not be of the same moment.
        index.truncated = watched.last.truncated
        if watched.last.total_size > index.size:
            index.extend(source)
    return LogLines(lines, index.total_lines, index.newlines, index.truncated)


class _Watched:
    """A source of pages that keeps the last one, to see from it whether the log has grown."""

    def __init__(self, source: PageSource) -> None:
        self._source = source
        self.last: LogPage | None = None

    @property
    def name(self) -> str:
        return self._source.name

    def page(self, offset: int, limit: int) -> LogPage:
        self.last = self._source.page(offset, limit)
        return self.last


def split_lines(text: str) -> list[str]:
    """The lines of a text; only a newline ends one, a carriage return before it is dropped."""
    *complete, last = text.split("\n")
    lines = [line.removesuffix("\r") for line in complete]
    return [*lines, last] if last else lines
