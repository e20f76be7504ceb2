"""Which line of a log begins at which byte, and pages of it that a walk has read ahead."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import AnyStr

from script_runner._fork import renew_after_fork
from script_runner._settings import Settings
from script_runner.logs._text import REPLACEMENT, Page, Stream

_REPLACEMENT = REPLACEMENT.encode()

WALK_PAGES = 2
"""How many pages are read at once for who reads the lines of a log in turn: the runner makes the
second one while the first one is taken apart here."""

MAX_WALKS = 4
"""The most logs of which such pages are kept."""


@dataclass(frozen=True)
class Place:
    """Where some lines are: the bytes to read for them, and which lines these bytes begin with.

    Attributes:
        walk_end: Where a walk through the log reads to; a line begins there, too.
    """

    start: int
    end: int
    walk_end: int
    first_line: int
    end_line: int


class Walk:
    """Who reads the lines of a log in turn reads whole pages, whose rest is for the next calls.

    What was read ahead is given for a moment only, so that nobody is told for long what is not so
    any more.
    """

    def __init__(self, seconds: float) -> None:
        """Begin nowhere; see `Settings.walk_seconds`."""
        self._seconds = seconds
        self._last = (-1, 0.0)
        self.drop()

    def drop(self) -> None:
        """Keep nothing any more."""
        self._ahead: tuple[int, str | bytes, float] = (0, "", 0.0)

    def goes_on(self, line: int) -> bool:
        """Whether the last call ended before that line, a moment ago."""
        next_line, when = self._last
        return line == next_line and self._is_fresh(when)

    def note(self, next_line: int) -> None:
        """A call ended before that line."""
        self._last = (next_line, time.monotonic())

    def keep(self, start: int, text: str, end: int) -> None:
        """Keep the text of some bytes, unless it is not known where in it each of them is."""
        held = text if text.isascii() else text.encode()
        # A replacement is three bytes long and stands for one to three.
        if len(held) == end - start:
            self._ahead = (start, held, time.monotonic())

    def text(self, start: int, end: int) -> str | None:
        """The text of some bytes, which are whole characters; None if it was not kept."""
        first, held, when = self._ahead
        if not first <= start <= end <= first + len(held) or not self._is_fresh(when):
            return None
        part = held[start - first : end - first]
        return part if isinstance(part, str) else part.decode()

    def _is_fresh(self, when: float) -> bool:
        return time.monotonic() < when + self._seconds


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
        self.walk = Walk(self._settings.walk_seconds)

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
                self._ends_with_newline = page.text.endswith("\n")
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
        if page.text.isascii():
            return self._remember(page.text, "\n", page.start, self.newlines)
        raw = page.raw
        # To look for a character in a text is faster than for its bytes.
        if REPLACEMENT not in page.text:
            return self._remember(raw, b"\n", page.start, self.newlines)
        first = raw.find(_REPLACEMENT)
        last = raw.rfind(_REPLACEMENT) + len(_REPLACEMENT)
        before = self._remember(raw[:first], b"\n", page.start, self.newlines)
        before += raw.count(b"\n", first, last)
        return self._remember(raw[last:], b"\n", page.end - (len(raw) - last), before)

    def _remember(self, text: AnyStr, newline: AnyStr, offset: int, number: int) -> int:
        """Note line starts in a text whose first byte is at `offset`, in the line `number`.

        Args:
            text: UTF-8, or a text of which each character is a byte.
            newline: The same of a newline.
            offset: The first byte of it.
            number: The line it begins in.

        Returns:
            The number of the line in which it ends.
        """
        counted = 0
        while True:
            wanted = self._starts[-1] + self._spacing - offset
            end = text.find(newline, max(wanted - 1, counted))
            if end < 0:
                return number + text.count(newline, counted)
            number += text.count(newline, counted, end + 1)
            counted = end + 1
            self._starts.append(offset + counted)
            self._numbers.append(number)

    def place(self, offset: int, limit: int) -> Place:
        """Where the lines from `offset` are, at most `limit` of them."""
        with self._lock:
            end_line = max(offset, min(offset + limit, self.total_lines))
            before = bisect.bisect_right(self._numbers, offset) - 1
            after = bisect.bisect_left(self._numbers, end_line)
            start = self._starts[before]
            end = self._starts[after] if after < len(self._starts) else self.size
            walk_end = start + WALK_PAGES * self._settings.page_bytes
            if walk_end < self.size:
                walk_end = self._starts[bisect.bisect_right(self._starts, walk_end) - 1]
            walk_end = max(end, min(walk_end, self.size))
            return Place(start, end, walk_end, self._numbers[before], end_line)


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
            for other in itertools.islice(reversed(self._by_log.values()), MAX_WALKS, None):
                other.walk.drop()
            return index
