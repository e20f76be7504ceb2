"""The line view of a log.

A line ends at a newline only; a carriage return before it is dropped; a last line without a
newline counts. The lines are those of `bytes.decode("utf-8", "replace")` of the whole log.
"""

from __future__ import annotations

from dataclasses import dataclass

from script_runner.errors import InvalidResponse
from script_runner.logs._index import LineIndex, Place
from script_runner.logs._text import Log, Page, Reading


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
        text, page = yield from _text_of(log, index, place, offset, is_known=is_known)
        lines = split_lines(text)[offset - place.first_line : place.end_line - place.first_line]
        if is_known and page is not None:
            # Else the lines and their number would not be of the same moment.
            if page.total_size < known_size:
                raise log.has_shrunk(known_size, page.total_size)
            index.truncated = page.truncated
            if page.total_size > known_size:
                yield from _extend(log, index)
    index.walk.note(place.end_line)
    return LogLines(lines, index.total_lines, index.truncated)


def _text_of(
    log: Log, index: LineIndex, place: Place, offset: int, *, is_known: bool
) -> Reading[tuple[str, Page | None]]:
    """The text of a place, at least, and the last page it came from; None if that was kept."""
    if not is_known or not index.walk.goes_on(offset):
        return (yield from log.text(place.start, place.end))
    kept = index.walk.text(place.start, place.end)
    if kept is not None:
        return kept, None
    text, page = yield from log.text(place.start, place.walk_end, is_known=True)
    index.walk.keep(place.start, text, place.walk_end)
    # Less to split, if it was kept.
    kept = index.walk.text(place.start, place.end)
    return text if kept is None else kept, page


def _extend(log: Log, index: LineIndex) -> Reading[None]:
    """See the rest of the log, up to where it ends now; what comes meanwhile is left.

    Raises:
        InvalidResponse: If the log is shorter than it was, or its pages do not advance.
    """
    end: int | None = None
    are_whole = False
    while end is None or index.size < end:
        start = index.size
        is_last = end is None or start + log.page_bytes >= end
        # Behind a page that is cut inside a character another one follows than was expected.
        next_limit = log.page_bytes if are_whole and not is_last else 0
        page = yield from log.page(start, log.page_bytes, next_limit)
        end = page.total_size if end is None else end
        if page.total_size < max(start, end):
            raise log.has_shrunk(max(start, end), page.total_size)
        # Between whole characters more line starts are certain than between pages.
        page = yield from log.whole_characters(page, page.total_size)
        are_whole = page.end == start + log.page_bytes
        index.add(page)


def split_lines(text: str) -> list[str]:
    """The lines of a text; only a newline ends one, a carriage return before it is dropped."""
    # Looked for first, for one character is found much faster than two.
    *lines, last = (text.replace("\r\n", "\n") if "\r" in text else text).split("\n")
    return [*lines, last] if last else lines
