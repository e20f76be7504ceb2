"""The log files of jobs, read in pages that do not cut characters."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from local_runner.storage.files import open_file

PIECE_BYTES = 64 * 1024
"""So much is decoded at once, 2 ms at most: other threads, the event loop among them, stand still
meanwhile."""

_UTF8_CONTINUATION = range(0x80, 0xC0)
_MOST_CONTINUATION_BYTES = 3


def decode_tail(tail: bytes, *, is_cut: bool, ended: bool) -> str:
    """Decode the last bytes of a log.

    Args:
        tail: The bytes.
        is_cut: Whether bytes stand before them, so that they may begin inside a character.
        ended: Whether no more bytes will come after them.
    """
    start = 0
    if is_cut:
        while start < min(_MOST_CONTINUATION_BYTES, len(tail)) and (
            tail[start] in _UTF8_CONTINUATION
        ):
            start += 1
    return codecs.getincrementaldecoder("utf-8")("replace").decode(tail[start:], final=ended)


@dataclass(frozen=True)
class Page:
    """A part of a log; offsets and sizes are bytes."""

    offset: int
    next_offset: int
    total_size: int
    data: str


def read_page(path: Path, offset: int, limit: int, *, ended: bool) -> Page:
    """Read a page of a log.

    The page ends before a character that would be cut, unless nothing would be left of it: a page
    always advances while there are bytes after `offset`.

    Args:
        path: The log file; one that is missing, or is a symbolic link, reads as empty.
        offset: The first byte wanted.
        limit: The most bytes wanted.
        ended: Whether the log is complete; half a character at its end is then invalid.

    Raises:
        OSError: If the file is there and cannot be read, or is no regular file.
    """
    raw, total_size = _read(path, offset, limit)
    next_offset = offset + len(raw)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = [
        decoder.decode(raw[start : start + PIECE_BYTES])
        for start in range(0, len(raw), PIECE_BYTES)
    ]
    text = "".join([*pieces, decoder.decode(b"", final=ended and next_offset == total_size)])
    unfinished = len(decoder.getstate()[0])
    if unfinished == len(raw):
        return Page(offset, next_offset, total_size, raw.decode("utf-8", "replace"))
    return Page(offset, next_offset - unfinished, total_size, text)


def read_tail(path: Path, limit: int) -> tuple[int, bytes]:
    """The size of a log, and its last bytes.

    Args:
        path: The log file; one that is missing reads as empty.
        limit: The most bytes of the tail.

    Raises:
        OSError: If the file is there and cannot be read, or is no regular file.
    """
    _, size = _read(path, 0, 0)
    start = max(0, size - limit)
    tail, _ = _read(path, start, limit)
    return size, tail


def _read(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """At most `limit` bytes from `offset`, and the size of the file."""
    try:
        file = open_file(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return b"", 0
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "the log is no regular file", path.name)
        size = status.st_size
        # A file that grows meanwhile must not give a page that ends past the size.
        wanted = min(limit, max(0, size - offset))
        return os.pread(file, wanted, offset) if wanted else b"", size
    finally:
        os.close(file)
