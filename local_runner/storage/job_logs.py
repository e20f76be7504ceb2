"""The log files of jobs: written with a bound, read in pages that do not cut characters."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OLD_FILE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_UTF8_CONTINUATION = range(0x80, 0xC0)
_MOST_CONTINUATION_BYTES = 3


class LogWriter:
    """The log of one stream of a running job: a file that stops growing, and its tail in memory.

    Attributes:
        size: Bytes in the file.
        truncated: Whether bytes were thrown away because the file had reached its limit.
    """

    def __init__(self, path: Path, limit: int, preview_limit: int, flags: int = _NEW_FILE) -> None:
        """Create the file.

        Args:
            path: The file, which must not be there yet; its folder is made when it is missing.
            limit: The most bytes written to the file.
            preview_limit: The most bytes kept of the tail.
            flags: How to open it; see `reopen`.

        Raises:
            OSError: If the file cannot be opened.
        """
        try:
            self._file = os.open(path, flags, FILE_MODE)
        except FileNotFoundError:
            path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._file = os.open(path, flags, FILE_MODE)
        self._path = path
        self._limit = limit
        self._preview_limit = preview_limit
        self._tail = b""
        self._written = 0
        self.size = 0
        self.truncated = False

    @classmethod
    def reopen(cls, path: Path, limit: int, preview_limit: int) -> LogWriter:
        """Go on with the log of a job that has not ended; see `LogWriter` for the arguments.

        Raises:
            OSError: If the file cannot be opened or read.
        """
        _, size = _read(path, 0, 0)
        tail, _ = _read(path, max(0, size - preview_limit), preview_limit)
        writer = cls(path, limit, preview_limit, _OLD_FILE)
        writer._tail, writer._written, writer.size = tail, size, size
        return writer

    def write(self, data: bytes) -> None:
        """Add what the script wrote.

        Raises:
            OSError: If the file cannot be written, for instance because the disk is full.
        """
        self.add_to_preview(data)
        room = memoryview(data)[: self._limit - self.size]
        self.truncated = self.truncated or len(room) < len(data)
        while room:
            written = os.write(self._file, room)
            self.size += written
            room = room[written:]

    def add_to_preview(self, data: bytes) -> None:
        """Add to the tail what does not go to the file, such as why the job could not start."""
        self._written += len(data)
        kept = data if len(data) >= self._preview_limit else self._tail + data
        self._tail = kept[-self._preview_limit :] if self._preview_limit else b""

    def drop(self, data: bytes) -> None:
        """Add to the tail what the script wrote beyond the limit, which is thrown away."""
        self.add_to_preview(data)
        self.truncated = True

    def preview(self, *, ended: bool) -> str:
        """The tail as text, beginning at the beginning of a character.

        Args:
            ended: Whether no more will come; a character that is not complete yet is left out
                until then.
        """
        return decode_tail(self._tail, is_cut=self._written > len(self._tail), ended=ended)

    def close(self) -> None:
        """Close the file; `size`, `truncated` and the tail stay."""
        os.close(self._file)

    def discard(self) -> None:
        """Close the file and delete it: there is no job that it is the log of."""
        self.close()
        self._path.unlink(missing_ok=True)


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
    text = decoder.decode(raw, final=ended and next_offset == total_size)
    unfinished = len(decoder.getstate()[0])
    if unfinished == len(raw):
        return Page(offset, next_offset, total_size, raw.decode("utf-8", "replace"))
    return Page(offset, next_offset - unfinished, total_size, text)


def read_tail(path: Path, limit: int) -> tuple[int, str]:
    """The size of a log that has ended, and its last bytes as text.

    Args:
        path: The log file; one that is missing reads as empty.
        limit: The most bytes of the tail.

    Raises:
        OSError: If the file is there and cannot be read, or is no regular file.
    """
    _, size = _read(path, 0, 0)
    start = max(0, size - limit)
    tail, _ = _read(path, start, limit)
    return size, decode_tail(tail, is_cut=start > 0, ended=True)


def _read(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """At most `limit` bytes from `offset`, and the size of the file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
