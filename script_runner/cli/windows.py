"""Which part of a log is shown: the last lines, or those from one to another."""

from __future__ import annotations

from generated_client.api.jobs import get_job_logs
from script_runner import ScriptRunner, Stream

PAGE_BYTES = 64 * 1024
"""The most that every runner gives at once, and more than a screen."""


class Window:
    """The lines of a text that comes in parts: exactly as they are, with their ends.

    Attributes:
        start: The byte of the log with which the text begins.
    """

    def __init__(self, *, start: int = 0, skip: int = 0, limit: int | None = None) -> None:
        """Say which lines.

        Args:
            start: The byte of the log with which the text begins.
            skip: How many lines are left out before the first one shown.
            limit: The most lines shown; None for all.
        """
        self.start = start
        self._skip = skip
        self._limit = limit

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be in it."""
        return self._limit == 0

    def take(self, text: str) -> str:
        """What of the next part is in it."""
        skipped = min(self._skip, text.count("\n"))
        self._skip -= skipped
        if self._skip:
            return ""
        text = text[_after(text, skipped) :]
        if self._limit is not None:
            taken = min(self._limit, text.count("\n"))
            self._limit -= taken
            if not self._limit:
                return text[: _after(text, taken)]
        return text


def _after(text: str, newlines: int) -> int:
    """Where the text goes on after so many newlines."""
    place = 0
    for _ in range(newlines):
        place = text.index("\n", place) + 1
    return place


def last_lines(runner: ScriptRunner, job_id: str, stream: Stream, size: int, count: int) -> Window:
    """The window of the last lines of a log, and of what is written after them.

    It is looked for from the end: a newline is one wherever a page is cut.

    Args:
        runner: The runner.
        job_id: The job.
        stream: The stream.
        size: Where the log ends.
        count: How many lines.
    """
    start, lines, is_open = size, 0, False
    # Where the first line begins is known only if one that is not wanted is before it.
    while start > 0 and lines <= count:
        end, start = start, max(0, start - PAGE_BYTES)
        text = _text(runner, job_id, stream, start, end)
        if end == size:
            is_open = not text.endswith("\n")
        lines += text.count("\n") + (is_open if end == size else 0)
    return Window(start=start, skip=max(0, lines - count))


def _text(runner: ScriptRunner, job_id: str, stream: Stream, start: int, end: int) -> str:
    """The text of some bytes; what is cut at a page is no newline."""
    parts: list[str] = []
    while start < end:
        page = runner.call(get_job_logs, job_id, stream=stream, offset=start, limit=end - start)
        parts.append(page.data)
        if page.next_offset <= start:
            break
        start = page.next_offset
    return "".join(parts)
