"""The exact text of a log, from pages of bytes that a server cuts and decodes one by one.

A page may begin and end inside a character. What is inside it decodes right all the same: in
UTF-8 the state of a decoder depends on the last three bytes only, and a newline byte is never part
of another character. So text is lost only where a character lies across the end of a page; such a
place is found by small pages around it, and the next page is begun before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from generated_client.api.jobs import get_job_logs
from generated_client.models import LogPage
from script_runner import inputs
from script_runner.client import Runner
from script_runner.errors import InvalidResponse
from script_runner.inputs import Stream
from script_runner.transport import ANSWER_SECONDS

PAGE_BYTES = 1024 * 1024
"""The largest page; the wire's limit."""

LEAST_PAGE_BYTES = 64 * 1024
"""What a page brings at least, less a cut character, if so much was asked for and is there.

It is what the wire gives where no limit is named. By pages of a few bytes, a log that is said to be
large would be read without end.
"""

REPLACEMENT = "\ufffd"
"""What a server puts in the place of bytes that it cannot decode."""

MAX_CHARACTER_BYTES = 4


class PageSource(Protocol):
    """Where pages of one log come from."""

    @property
    def name(self) -> str:
        """Which log it is, for messages."""

    def page(self, offset: int, limit: int) -> LogPage:
        """The page of at most `limit` bytes from the byte `offset`."""


class RunnerLog:
    """The log of one stream of a job, read from a script-runner."""

    def __init__(
        self,
        runner: Runner,
        job_id: str,
        stream: Stream,
        seconds_left: Callable[[], float] | None = None,
    ) -> None:
        """Name the log; nothing is read yet.

        Args:
            runner: See `connect`.
            job_id: The job.
            stream: `stdout` or `stderr`.
            seconds_left: Gives what is left of the time for reading, so that no page takes
                longer, or raises where nothing is left; by default a page may take as long as
                any call.

        Raises:
            InvalidInput: If the stream is none.
        """
        self._runner = runner
        self._job_id = job_id
        self._stream = inputs.stream({"stream": stream}, "stream")
        self.seconds_left = seconds_left

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this log from all others."""
        return self._runner.url, self._job_id, self._stream

    @property
    def name(self) -> str:
        """The stream, the job and the runner."""
        job_id = self._runner.quoted(self._job_id)
        return f"the {self._stream} log of job {job_id} at {self._runner.url}"

    def page(self, offset: int, limit: int) -> LogPage:
        """Read a page; see `PageSource`.

        Raises:
            ScriptRunnerError: See `Runner.call`; InvalidResponse also for a page that is not
                the one asked for, or that brings much less than was asked for and is there.
        """
        page = self._runner.call(
            get_job_logs,
            self._job_id,
            stream=self._stream,
            offset=offset,
            limit=limit,
            time_limit_seconds=self.seconds_left() if self.seconds_left else ANSWER_SECONDS,
        )
        got = page.next_offset - offset
        most = min(limit, max(0, page.total_size - offset))
        least = max(min(most, LEAST_PAGE_BYTES) - MAX_CHARACTER_BYTES + 1, min(most, 1))
        if page.offset != offset or not least <= got <= most:
            raise InvalidResponse(
                f"{self.name}: asked for {limit} bytes from {offset}, got {page.offset} to "
                f"{page.next_offset} of {page.total_size}. Is this a script-runner?"
            )
        return page


def has_shrunk(source: PageSource, known: int, total_size: int) -> InvalidResponse:
    """The error for a log that has become shorter than it was known to be."""
    return InvalidResponse(
        f"{source.name} has shrunk from {known} to {total_size} bytes. Was the runner's history "
        "deleted? Ask again."
    )


def utf8_of(source: PageSource, page: LogPage) -> bytes:
    """The text of a page as UTF-8, which is as long as its bytes but for replacements.

    Args:
        source: Where the page came from.
        page: The page.

    Raises:
        InvalidResponse: If the text cannot be that of so many bytes.
    """
    raw, size = page.data.encode(), page.next_offset - page.offset
    # A replacement is three bytes long and stands for one to three. Counted only if it matters.
    if size != len(raw) and not 0 < len(raw) - size <= 2 * page.data.count(REPLACEMENT):
        raise InvalidResponse(
            f"{source.name}: {len(page.data)} characters came for the bytes {page.offset} to "
            f"{page.next_offset}, which cannot be their text. Is this a script-runner?"
        )
    return raw


def read_text(source: PageSource, start: int, end: int) -> Iterator[str]:
    """The text of a part of a log, exactly as one decoder over all its bytes would give it.

    Args:
        source: Where the pages come from.
        start: The first byte; the beginning of the log or of a line.
        end: The byte after the last one; at most the size of the log.

    Yields:
        The text, in pieces of at most a page.

    Raises:
        InvalidResponse: If the log turns out to be shorter than `end`, or a text cannot be that
            of its bytes.
    """
    while start < end:
        page = source.page(start, min(PAGE_BYTES, end - start))
        if page.total_size < end:
            raise has_shrunk(source, end, page.total_size)
        utf8_of(source, page)
        text, start = without_cut_character(source, page, end)
        yield text


def without_cut_character(source: PageSource, page: LogPage, end: int) -> tuple[str, int]:
    """The text of a page up to the last place where nothing is cut, and that place.

    Args:
        source: Where the page came from.
        page: The page.
        end: The end of what is read, at most the size of the log: nothing is cut there.
    """
    cut = page.next_offset
    if cut >= end or not page.data.endswith(REPLACEMENT):
        return page.data, cut
    earlier = range(cut - 1, max(page.offset, cut - MAX_CHARACTER_BYTES), -1)
    for begin in earlier:
        first = source.page(begin, min(MAX_CHARACTER_BYTES, end - begin)).data[:1]
        if first != REPLACEMENT and len(first.encode()) > cut - begin:
            # Of this character, which lies across the cut, the page shows one replacement.
            return page.data[:-1], begin
    # Invalid bytes: how many replacements they give may depend on where they are cut.
    for candidate in (cut, *earlier):
        if _is_harmless(source, candidate, end):
            rest = source.page(candidate, cut - candidate).data if candidate < cut else ""
            return page.data[: len(page.data) - len(rest)], candidate
    return page.data, cut


def _is_harmless(source: PageSource, cut: int, end: int) -> bool:
    """Whether the bytes around a cut decode to the same text with the cut as without it."""
    begin, stop = max(0, cut - MAX_CHARACTER_BYTES + 1), min(end, cut + MAX_CHARACTER_BYTES - 1)
    before = source.page(begin, cut - begin)
    after = source.page(cut, stop - cut)
    across = source.page(begin, stop - begin)
    pages_are_whole = before.next_offset == cut and after.next_offset == stop == across.next_offset
    return pages_are_whole and before.data + after.data == across.data
