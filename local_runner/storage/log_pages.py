"""The log files of jobs, read in pages that do not cut characters."""

from __future__ import annotations

import asyncio
import codecs
import errno
import functools
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from local_runner.storage.disk import Disk
from local_runner.storage.files import open_file

READING_THREADS = 8
"""So many logs on a disk that hangs can be asked for before the pages of others have to wait."""

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


class LogReader:
    """Reads pages in threads of its own, so that nothing else waits for one that hangs.

    Of each log it reads one at a time: however many ask for one that hangs, it takes one thread.
    It belongs to one event loop.
    """

    def __init__(self) -> None:
        """Start the threads."""
        self._disk = Disk(READING_THREADS)
        self._turns: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def page(self, path: Path, offset: int, limit: int, *, ended: bool) -> Page:
        """Read a page when those before it that ask for the same log have theirs.

        See `read_page` for the arguments and what it raises.
        """
        read = functools.partial(read_page, path, offset, limit, ended=ended)
        # A task of its own: if the caller goes away the thread still has its turn.
        return await asyncio.shield(asyncio.ensure_future(self._read(path, read)))

    async def _read(self, path: Path, read: functools.partial[Page]) -> Page:
        turn = self._turns.get(path) or self._turns.setdefault(path, asyncio.Lock())
        async with turn:
            return await self._disk.run(read)


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
        OSError: If the file is there and cannot be read, or is not a regular file.
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
        OSError: If the file is there and cannot be read, or is not a regular file.
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
            raise OSError(errno.EINVAL, "the log is not a regular file", path.name)
        size = status.st_size
        # A file that grows meanwhile must not give a page that ends past the size.
        wanted = min(limit, max(0, size - offset))
        return os.pread(file, wanted, offset) if wanted else b"", size
    finally:
        os.close(file)
