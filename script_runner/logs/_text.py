"""The exact text of a log, from pages of bytes that a server cuts and decodes one by one.

A page may begin and end inside a character. What is inside it decodes right all the same: in
UTF-8 the state of a decoder depends on the last three bytes only, and a newline byte is never part
of another character. So text is lost only if a character lies across the end of a page; such a
page is used up to the begin of that character, where the next page begins.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from generated_client.models import Job, LogPage
from script_runner._settings import DEFAULT_PAGE_BYTES
from script_runner._status import Status
from script_runner.errors import InvalidResponse

Stream = Literal["stdout", "stderr"]
"""The two streams of a job's output."""

STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")

REPLACEMENT = "\ufffd"
"""What a server puts in the place of bytes that it cannot decode."""

MAX_CHARACTER_BYTES = 4

REASON_ANCHOR_CHARACTERS = 64
"""By how much of the end of a log it is found in a preview that goes on after it."""


@dataclass(frozen=True)
class PageRequest:
    """The page of at most `limit` bytes from the byte `offset` of a stream.

    Attributes:
        timeout: How many seconds it may take; None for as long as any call.
        then: What is most likely wanted next, which may be asked for meanwhile.
    """

    stream: Stream
    offset: int
    limit: int
    timeout: float | None = None
    then: PageRequest | None = field(default=None, compare=False)


T = TypeVar("T")

Reading = Generator[PageRequest, LogPage, T]
"""Yields what it wants to read, is sent the page, and returns what it made of all of them."""


@dataclass(frozen=True)
class Page:
    """A page that can be one of the log.

    Attributes:
        start: Its first byte.
        end: The byte after its last one.
        text: The text of its bytes.
        total_size: The bytes in the log now.
        truncated: Whether the runner threw away what came after, because the log was full.
    """

    start: int
    end: int
    text: str
    total_size: int
    truncated: bool

    @functools.cached_property
    def raw(self) -> bytes:
        """The text as UTF-8, which is as long as the bytes but for replacements."""
        return self.text.encode()


@dataclass(frozen=True)
class Log:
    """One stream of a job.

    Attributes:
        stream: Which one.
        name: What messages call it.
        page_bytes: The size of its pages.
        seconds_left: Gives the timeout of the next page, or raises if no time is left; None for
            that of any call.
    """

    stream: Stream
    name: str
    page_bytes: int
    seconds_left: Callable[[], float] | None = None

    def page(self, offset: int, limit: int, next_limit: int = 0) -> Reading[Page]:
        """Read a page.

        Args:
            offset: Its first byte.
            limit: The most bytes of it.
            next_limit: The same of the page after it, if that will be wanted.

        Raises:
            InvalidResponse: If it is not the one asked for, or brings much less than was asked for
                and is there: by pages of a few bytes, a log said to be large would be read without
                end.
        """
        timeout = None if self.seconds_left is None else self.seconds_left()
        then = PageRequest(self.stream, offset + limit, next_limit) if next_limit > 0 else None
        page = yield PageRequest(self.stream, offset, limit, timeout, then)
        got = page.next_offset - offset
        most = min(limit, max(0, page.total_size - offset))
        least = max(min(most, DEFAULT_PAGE_BYTES) - MAX_CHARACTER_BYTES + 1, min(most, 1))
        if page.offset != offset or not least <= got <= most:
            raise InvalidResponse(
                f"{self.name}: asked for {limit} bytes from {offset}, got {page.offset} to "
                f"{page.next_offset} of {page.total_size}. Is this a script-runner?"
            )
        found = Page(offset, page.next_offset, page.data, page.total_size, page.truncated)
        size = got if len(page.data) == got and page.data.isascii() else len(found.raw)
        # A replacement is three bytes long and stands for one to three. Counted if it matters.
        if got != size and not 0 < size - got <= 2 * page.data.count(REPLACEMENT):
            raise InvalidResponse(
                f"{self.name}: {len(page.data)} characters came for the bytes {offset} to "
                f"{page.next_offset}, which cannot be their text. Is this a script-runner?"
            )
        return found

    def whole_characters(self, page: Page, end: int | None) -> Reading[Page]:
        """A page up to the last place where no character is cut.

        Args:
            page: The page.
            end: Where the log ends, so that nothing is cut there; None if it may go on.
        """
        if (end is not None and page.end >= end) or not page.text.endswith(REPLACEMENT):
            return page
        # What cannot be decoded at the end is one to three bytes, the begin of a character or not:
        # the longest end of the page that is one replacement.
        most = min(MAX_CHARACTER_BYTES - 1, page.end - page.start)
        for size in range(most, 0, -1):
            tail = yield from self.page(page.end - size, size)
            if tail.text == REPLACEMENT and tail.end == page.end:
                break
        if size == page.end - page.start and page.end < page.total_size:
            # A server that gives so little although there is more has cut nothing.
            return page
        return Page(
            page.start,
            page.end - size,
            page.text[:-1],
            page.total_size,
            page.truncated,
        )

    def text(
        self, start: int, end: int, *, is_known: bool = False, first: Page | None = None
    ) -> Reading[tuple[str, Page | None]]:
        """The text of a part of a log, exactly as one decoder over all its bytes would give it.

        Args:
            start: The first byte; the beginning of the log or of a line.
            end: The byte after the last one; at most the size of the log.
            is_known: Whether it was read before; else one page is seen before others are asked for.
            first: The first page of it, if that is there already.

        Returns:
            The text, and the last page it came from.

        Raises:
            InvalidResponse: If the log turns out to be shorter than `end`.
        """
        parts: list[str] = []
        page: Page | None = None
        are_whole = is_known
        while start < end:
            limit = min(self.page_bytes, end - start)
            # Behind a page that is cut inside a character another one follows than was expected.
            next_limit = min(self.page_bytes, end - start - limit) if are_whole else 0
            page = first or (yield from self.page(start, limit, next_limit))
            first = None
            if page.total_size < end:
                raise self.has_shrunk(end, page.total_size)
            page = yield from self.whole_characters(page, end)
            are_whole = page.end == start + limit
            parts.append(page.text)
            start = page.end
        return "".join(parts), page

    def has_shrunk(self, known: int, total_size: int) -> InvalidResponse:
        """The error for a log that has become shorter than it was known to be."""
        return InvalidResponse(
            f"{self.name} has shrunk from {known} to {total_size} bytes. Was the runner's history "
            "deleted? Ask again."
        )


def read_output(log: Log, job: Job) -> Reading[str]:
    """The whole of what a job wrote to a stream, as far as the runner kept it.

    It is the preview if that is complete: as long in UTF-8 as the log in bytes, nothing thrown
    away, and nothing in it that could not be decoded (if a preview begins inside a character its
    length may equal that of the log by chance). Else it is read from the log.

    The log may be shorter than the job says, by what did not fit on a disk; see `is_short`. One
    that is empty is gone.
    """
    preview, size, truncated = output_of(job, log.stream)
    if not truncated and len(preview.encode()) == size and REPLACEMENT not in preview:
        return preview
    first: Page | None = None
    if size:
        first = yield from log.page(0, min(log.page_bytes, size))
        size = min(size, max(0, first.total_size)) or size
    text, _ = yield from log.text(0, size, first=first)
    return text


def is_short(job: Job, stream: Stream, text: str) -> bool:
    """Whether the text of a whole log has fewer bytes than the job says that there are in it, or
    not the end of stdout that is in the preview."""
    preview, size, _ = output_of(job, stream)
    # What the runner says of a job may be at the end of the other preview.
    if stream == "stdout" and not text.endswith(preview.lstrip(REPLACEMENT)):
        return True
    # What stands for bytes that cannot be decoded is never shorter than they are.
    return len(text.encode()) < size


def output_of(job: Job, stream: Stream) -> tuple[str, int, bool]:
    """Of one stream of a job its preview, its size in bytes, and whether it is truncated."""
    if stream == "stdout":
        return job.stdout_preview, job.stdout_size, job.stdout_truncated
    return job.stderr_preview, job.stderr_size, job.stderr_truncated


def reason_in_preview(job: Job, stderr: str) -> str:
    """What the runner says of a job in the preview of its stderr alone: its log could not be
    written for instance, or it could not be started.

    Args:
        job: The job, ended.
        stderr: The whole of its stderr.

    Returns:
        The reason; empty if there is none.
    """
    # A preview may begin inside a character.
    preview = job.stderr_preview.lstrip(REPLACEMENT)
    if stderr.endswith(preview):
        return ""
    if job.stderr_truncated:
        # It is of output that was thrown away, but for its end if there is no exit code.
        is_failed = job.status == Status.FAILED and job.code == -1
        return preview.rstrip("\n").rpartition("\n")[2] if is_failed else ""
    end = stderr[-REASON_ANCHOR_CHARACTERS:]
    return (preview.rpartition(end)[2] if end else preview).strip("\n")
