"""Following a log while it grows: each of its bytes is read once, and a bounded part is held."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from generated_client.models import LogPage
from script_runner.logs._text import Log, Page, PageRequest, Stream

TAIL_CHARACTERS = 4096
"""How much of the newest output is looked at for a progress."""

_PERCENT = re.compile(r"(?<![\w.,+-])(\d{1,3}(?:[.,]\d+)?) ?%(?!\w)")
"""A percentage as people write it, no part of another word."""


@dataclass(frozen=True)
class Text:
    """What a job has newly written to a stream, exactly."""

    text: str
    stream: Stream


@dataclass(frozen=True)
class Line:
    """A line that a job has written."""

    text: str
    stream: Stream


@dataclass(frozen=True)
class Notice(Line):
    """A sentence about the output of a job."""


@dataclass(frozen=True)
class Progress:
    """How far the script says that it is, 0 to 100."""

    percent: float


Following = Generator[PageRequest | Text | Line | Progress, LogPage | None, None]
"""Yields what it wants to read, for which it is sent the page, and what it has found."""


class Follower:
    """Follows one stream of a job.

    Attributes:
        offset: The bytes read so far.
    """

    def __init__(self, log: Log, max_line: int, max_lines: int | None, offset: int = 0) -> None:
        """Begin at a byte of a log.

        Args:
            log: The log.
            max_line: The most characters of a line that are passed on.
            max_lines: The most lines that are passed on; None for all.
            offset: The byte.
        """
        self.offset = offset
        self._log = log
        self._lines = _OpenLine(max_line)
        self._max_lines = max_lines
        self._passed = 0

    def follow(self, size: int, *, has_ended: bool) -> Following:
        """Read on to where the log ends now.

        Args:
            size: How long the log is said to be.
            has_ended: Whether no more will be written, so that the last line is complete.

        Raises:
            InvalidResponse: If what came cannot be a page of the log; the next time goes on there.
        """
        end = size
        while self.offset != end:
            page = yield from self._log.page(self.offset, self._log.page_bytes)
            end = page.total_size
            if end < self.offset:
                yield from self._go_on_after_loss(end)
                break
            page = yield from self._log.whole_characters(page, end if has_ended else None)
            if page.end == self.offset:
                break
            yield from self._take(page)
            # What is written while this is read is left to the next time.
            end = max(self.offset, min(end, size))
        if has_ended:
            yield from self._pass_on(self._lines.end())

    def _take(self, page: Page) -> Iterator[Text | Line | Progress]:
        yield Text(page.text, self._log.stream)
        newest = page.text if self._has_enough else self._lines.open + page.text
        if (percent := last_percent(newest)) is not None:
            yield Progress(percent)
        yield from self._pass_on(self._lines.add(page.text))
        self.offset = page.end
        if self._has_enough:
            self.offset = max(self.offset, page.total_size - TAIL_CHARACTERS)

    @property
    def _has_enough(self) -> bool:
        return self._max_lines is not None and self._passed > self._max_lines

    def _pass_on(self, lines: Iterator[str]) -> Iterator[Line]:
        for line in lines:
            if self._has_enough:
                return
            self._passed += 1
            if not self._has_enough:
                yield Line(line, self._log.stream)
                continue
            # That there are more is said once.
            yield Notice(
                f"… {self._max_lines} lines are shown here; the log of the job has them all.",
                self._log.stream,
            )

    def _go_on_after_loss(self, total_size: int) -> Iterator[Line]:
        self.offset = total_size
        yield from self._pass_on(self._lines.end())
        yield Notice("… the log was shortened here; lines may be missing.", self._log.stream)


class _OpenLine:
    """Splits text into lines as it comes; holds a bounded part of the line that has not ended."""

    def __init__(self, limit: int) -> None:
        self.open = ""
        self._limit = limit
        self._dropped = 0

    def add(self, text: str) -> Iterator[str]:
        """Go on with a text; gives the lines that end in it."""
        *complete, rest = text.split("\n")
        for part in complete:
            self._grow(part)
            self.open = self.open.removesuffix("\r")
            yield self._taken()
        self._grow(rest)

    def end(self) -> Iterator[str]:
        """Nothing more comes; gives the last line if it did not end."""
        if self.open:
            yield self._taken()

    def _grow(self, part: str) -> None:
        if not part:
            return
        if self._dropped and "\r" not in self.open[-1:] + part[:-1]:
            # That may be the end of the line, or of a state of one that is written over.
            end = "\r" if part.endswith("\r") else ""
            self._dropped += len(part) - len(end)
            self.open += end
            return
        line = self.open + part
        start = 0
        if len(line) > self._limit:
            # Of a line that is written over again and again the last state counts.
            start = line.rfind("\r", 0, -1) + 1
        self._dropped = max(0, len(line) - start - self._limit)
        self.open = line[start : start + self._limit]

    def _taken(self) -> str:
        line, dropped = self.open, self._dropped
        self.open, self._dropped = "", 0
        return f"{line}… and {dropped} more characters" if dropped else line


def last_percent(text: str) -> float | None:
    """The last percentage at the end of a text, None if there is none; 101 % is none."""
    newest = text[-TAIL_CHARACTERS:]
    if len(newest) < len(text):
        # It may begin inside a number.
        newest = newest.lstrip("0123456789.,")
    percents = [float(found.replace(",", ".")) for found in _PERCENT.findall(newest)]
    return next((percent for percent in reversed(percents) if percent <= 100), None)
