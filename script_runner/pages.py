"""The exact text of a log, from pages of bytes that a server cuts and decodes one by one.

A page may begin and end inside a character. What is inside it decodes right all the same: in
UTF-8 the state of a decoder depends on the last three bytes only, and a newline byte is never part
of another character. So text is lost only where a character lies across the end of a page; such a
place is found by small pages around it, and the next page is begun before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from generated_client.api.jobs import get_job_logs
from generated_client.models import GetJobLogsStream, LogPage
from script_runner.client import Runner
from script_runner.errors import InvalidResponse

PAGE_BYTES = 1024 * 1024
"""The largest page; the wire's limit."""

REPLACEMENT = "\ufffd"
"""What a server puts in the place of bytes that it cannot decode."""

MAX_CHARACTER_BYTES = 4


class PageSource(Protocol):
    """Where pages of one log come from."""

    def page(self, offset: int, limit: int) -> LogPage:
        """The page of at most `limit` bytes from the byte `offset`."""


class RunnerLog:
    """The log of one stream of a job, read from a script-runner."""

    def __init__(self, runner: Runner, job_id: str, stream: str) -> None:
        """Name the log; nothing is read yet."""
        self._runner = runner
        self._job_id = job_id
        self._stream = GetJobLogsStream(stream)

    def page(self, offset: int, limit: int) -> LogPage:
        """Read a page; see `PageSource`.

        Raises:
            ScriptRunnerError: See `Runner.call`; InvalidResponse also for a page that is not
                the one asked for, or that does not advance.
        """
        page = self._runner.call(
            get_job_logs, self._job_id, stream=self._stream, offset=offset, limit=limit
        )
        if page.offset != offset or not offset <= page.next_offset <= offset + limit:
            raise InvalidResponse(
                f"the {self._stream} log of job {self._job_id} at {self._runner.url}: asked for "
                f"{limit} bytes from {offset}, got {page.offset} to {page.next_offset}. "
                "Is this a script-runner?"
            )
        if page.next_offset == offset < page.total_size:
            raise InvalidResponse(
                f"the {self._stream} log of job {self._job_id} at {self._runner.url}: a page "
                f"does not advance beyond byte {offset} of {page.total_size}, so the rest "
                "cannot be read"
            )
        return page


def read_text(source: PageSource, start: int, end: int) -> Iterator[str]:
    """The text of a part of a log, exactly as one decoder over all its bytes would give it.

    Args:
        source: Where the pages come from.
        start: The first byte; the beginning of the log or of a line.
        end: The byte after the last one; at most the size of the log.

    Yields:
        The text, in pieces of at most a page.

    Raises:
        InvalidResponse: If the log turns out to be shorter than `end`.
    """
    while start < end:
        page = source.page(start, min(PAGE_BYTES, end - start))
        if page.total_size < end:
            raise InvalidResponse(
                f"the log of job {page.job_id} has shrunk to {page.total_size} bytes while it was "
                "read. Was the runner's history deleted?"
            )
        text, start = _without_cut_character(source, page, end)
        yield text


def _without_cut_character(source: PageSource, page: LogPage, end: int) -> tuple[str, int]:
    """The text of a page up to the last place where nothing is cut, and that place."""
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
