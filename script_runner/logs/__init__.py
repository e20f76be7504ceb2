"""Logs: exact text and lines out of pages of bytes.

What reads a log is a generator that yields each `PageRequest` and is sent its `LogPage`; the
clients do the asking, one with threads and one with asyncio.
"""

from script_runner.logs._index import LineIndex, LineIndexes
from script_runner.logs._lines import LogLines, read_lines
from script_runner.logs._text import (
    STREAMS,
    Log,
    Page,
    PageRequest,
    Reading,
    Stream,
    is_short,
    output_of,
    read_output,
    reason_in_preview,
)

__all__ = [
    "STREAMS",
    "LineIndex",
    "LineIndexes",
    "Log",
    "LogLines",
    "Page",
    "PageRequest",
    "Reading",
    "Stream",
    "is_short",
    "output_of",
    "read_lines",
    "read_output",
    "reason_in_preview",
]
