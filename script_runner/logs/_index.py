"""The line view of a log: which line begins at which byte, and the lines themselves.

A line ends at a newline only; a carriage return before it is dropped; a last line without a
newline counts. The lines are those of `bytes.decode("utf-8", "replace")` of the whole log.
"""

from __future__ import annotations

import bisect
import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass

from script_runner._fork import renew_after_fork
from script_runner._settings import Settings
from script_runner.errors import InvalidResponse
from script_runner.logs._text import REPLACEMENT, Log, Page, Reading, Stream

_REPLACEMENT = REPLACEMENT.encode()


@dataclass(frozen=True)
class LogLines:
    """Some lines of a log.

    Attributes:
        lines: The lines, without their ends.
        total_lines: Lines in the whole log, as it was when it was read.
        truncated: Whether the runner threw away what came after, because the log was full.
    """

    lines: list[str]
    total_lines: int
    truncated: bool


@dataclass(frozen=True)
class _Place:
    """Where some lines are: the bytes to read for them, and which lines these bytes begin with."""

    start: int
    end: int
    first_line: int
    end_line: int


class LineIndex:
    """Which line of a log begins where, as far as the log was read. Safe between threads.

    It is never locked while a page is read: who reads the same log at the same time brings the
    same pages, of which the first counts.
    """

    def __init__(self, settings: Settings) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._starts = array("q", [0])
        self._numbers = array("q", [0])
        self._spacing = self._settings.line_start_bytes
        self._ends_with_newline = True
        self.size = 0
        """Bytes seen."""
        self.newlines = 0
        """Newlines in them."""
        self.truncated = False
        """Whether the runner said that it threw away the rest."""

    def forget(self) -> None:
        """Know nothing any more."""
        with self._lock:
            self._forget()

    @property
    def total_lines(self) -> int:
        """Lines seen, the last one also if it has no newline."""
        return self.newlines + (not self._ends_with_newline)

    def add(self, page: Page) -> None:
        """See a page, of whole characters, unless it was seen already."""
        with self._lock:
            if page.start != self.size:
                return
            self.truncated = page.truncated
            if page.end == page.start:
                return
            try:
                self.newlines = self._remember_starts(page)
                self.size = page.end
                self._ends_with_newline = page.raw.endswith(b"\n")
                while len(self._starts) > self._settings.max_line_starts:
                    self._spacing *= 2
                    self._starts = self._starts[::2]
                    self._numbers = self._numbers[::2]
            except BaseException:
                # A page half noted is worth nothing.
                self._forget()
                raise

    def _remember_starts(self, page: Page) -> int:
        """Note line starts whose byte is certain: before and after what could not be decoded.

        Returns:
            How many newlines there are up to the end of the page.
        """
        raw = page.raw
        # To look for a character in a text is faster than for its bytes.
        if REPLACEMENT not in page.text:
            return self._remember(raw, page.start, self.newlines)
        first = raw.find(_REPLACEMENT)
        last = raw.rfind(_REPLACEMENT) + len(_REPLACEMENT)
        before = self._remember(raw[:first], page.start, self.newlines)
        before += raw.count(b"\n", first, last)
        return self._remember(raw[last:], page.end - (len(raw) - last), before)

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

    def place(self, offset: int, limit: int) -> _Place:
        """Where the lines from `offset` are, at most `limit` of them."""
        with self._lock:
            end_line = max(offset, min(offset + limit, self.total_lines))
            before = bisect.bisect_right(self._numbers, offset) - 1
            after = bisect.bisect_left(self._numbers, end_line)
            end = self._starts[after] if after < len(self._starts) else self.size
            return _Place(self._starts[before], end, self._numbers[before], end_line)


class LineIndexes:
    """The indexes of the logs read last, by job and stream. Safe between threads."""

    def __init__(self, settings: Settings) -> None:
        """Remember nothing yet."""
        self._settings = settings
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget all of them."""
        self._lock = threading.Lock()
        self._by_log: OrderedDict[tuple[str, Stream], LineIndex] = OrderedDict()

    def of(self, job_id: str, stream: Stream) -> LineIndex:
        """The index of a log, empty if nothing of it is remembered."""
        with self._lock:
            index = self._by_log.setdefault((job_id, stream), LineIndex(self._settings))
            self._by_log.move_to_end((job_id, stream))
            if len(self._by_log) > self._settings.max_logs:
                self._by_log.popitem(last=False)
            return index


def read_lines(log: Log, index: LineIndex, offset: int, limit: int) -> Reading[LogLines]:
    """Read lines of a log by its index, which is brought up to date.

    Args:
        log: The log.
        index: What is known of it.
        offset: The first line wanted, from 0; past the end there are none.
        limit: The most lines wanted, at least 1.

    Raises:
        InvalidResponse: If the pages of the log do not fit together, or it has become shorter.
    """
    try:
        return (yield from _read_lines(log, index, offset, limit))
    except InvalidResponse:
        # What was seen of this log cannot be trusted any more.
        index.forget()
        raise


def _read_lines(log: Log, index: LineIndex, offset: int, limit: int) -> Reading[LogLines]:
    is_known = offset + limit <= index.newlines
    if not is_known:
        yield from _extend(log, index)
    place, known_size = index.place(offset, limit), index.size
    lines: list[str] = []
    if offset < place.end_line:
        text, page = yield from log.text(place.start, place.end)
        lines = split_lines(text)[offset - place.first_line : place.end_line - place.first_line]
        if is_known and page is not None:
            # Else the lines and their number would not be of the same moment.
            if page.total_size < known_size:
                raise log.has_shrunk(known_size, page.total_size)
            index.truncated = page.truncated
            if page.total_size > known_size:
                yield from _extend(log, index)
    return LogLines(lines, index.total_lines, index.truncated)


def _extend(log: Log, index: LineIndex) -> Reading[None]:
    """See the rest of the log, up to where it ends now; what comes meanwhile is left.

    Raises:
        InvalidResponse: If the log is shorter than it was, or its pages do not advance.
    """
    end: int | None = None
    while end is None or index.size < end:
        start = index.size
        page = yield from log.page(start, log.page_bytes)
        end = page.total_size if end is None else end
        if page.total_size < max(start, end):
            raise log.has_shrunk(max(start, end), page.total_size)
        # Between whole characters more line starts are certain than between pages.
        page = yield from log.whole_characters(page, page.total_size)
        index.add(page)


def split_lines(text: str) -> list[str]:
    """The lines of a text; only a newline ends one, a carriage return before it is dropped."""
    *complete, last = text.split("\n")
    lines = [line.removesuffix("\r") for line in complete]
    return [*lines, last] if last else lines
