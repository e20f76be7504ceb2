"""The logs of a job that lives: what it prints, in memory until a thread has written it."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
from collections.abc import Callable, Sequence

from local_runner import log
from local_runner.config import RunnerConfig
from local_runner.jobs.record import STREAMS, Stream, log_name
from local_runner.processes.shortage import is_shortage
from local_runner.storage.disk import Disk
from local_runner.storage.log_file import LogFile, check_folder
from local_runner.storage.log_pages import decode_tail, read_tail

FLUSH_SECONDS = 0.02
"""How long output may wait for more of it, so that a short script costs one write. Nobody sees it:
whoever asks for a page has what waits written first."""

FLUSH_BYTES = 256 * 1024
"""So much does not wait."""

MOST_WAITING_BYTES = 1024 * 1024
"""When so much waits for a slow disk, no more is taken from the script until it is written."""

SMALL_BYTES = 16 * 1024
"""A preview of more is decoded by a thread, which takes longer than to decode a small one."""

RETRY_SECONDS = 1.0
"""How long to wait before a log is opened again for which the system had no open file to give."""


class LogWriter:
    """One stream of a job: how much there is of it, its tail, and what is not written yet.

    Attributes:
        file: Where it is written to.
        size: Bytes of the log, those that wait to be written included.
        truncated: Whether output was thrown away.
        printed: Bytes that the script has printed, those thrown away included.
        waiting: What is not written yet.
        on_written: Called when there is more in the file.
    """

    on_written: Callable[[], None] | None = None

    def __init__(self, name: str, limit: int, preview_limit: int) -> None:
        """Begin an empty log.

        Args:
            name: Its file.
            limit: The most bytes of the log.
            preview_limit: The most bytes kept of the tail of what is printed.
        """
        self.file = LogFile(name)
        self.size = 0
        self.truncated = False
        self.waiting: list[bytes] = []
        self._limit = limit
        self._preview_limit = preview_limit
        self._tail = bytearray()
        self.printed = 0

    def write(self, data: bytes) -> int:
        """Take what the script printed; returns how much more waits to be written now."""
        self.add_to_preview(data)
        kept = data[: self._limit - self.size]
        self.truncated = self.truncated or len(kept) < len(data)
        if kept:
            self.waiting.append(kept)
            self.size += len(kept)
        return len(kept)

    def add_to_preview(self, data: bytes) -> None:
        """Add to the tail alone."""
        self.printed += len(data)
        self._tail += data[max(0, len(data) - self._preview_limit) :]
        # Now and then only, so that no byte is moved again and again.
        if len(self._tail) > 2 * self._preview_limit:
            del self._tail[: len(self._tail) - self._preview_limit]

    def preview(self, *, ended: bool) -> str:
        """The tail as text, beginning at the beginning of a character.

        Args:
            ended: Whether no more will come; a character that is not complete yet is left out
                until then.
        """
        tail = self.tail
        return decode_tail(tail, is_cut=self.printed > len(tail), ended=ended)

    @property
    def tail(self) -> bytes:
        """The end of what was printed, as long as a preview."""
        return bytes(self._tail[max(0, len(self._tail) - self._preview_limit) :])

    def drop(self, data: bytes) -> None:
        """Take what the script printed beyond the limit: into the tail alone."""
        self.add_to_preview(data)
        self.truncated = True

    def drop_waiting(self) -> int:
        """Throw away what is not written; returns how much of it waited."""
        dropped = sum(map(len, self.waiting))
        self.waiting = []
        self.truncated = self.truncated or self.size > self.file.size
        self.size = self.file.size
        return dropped

    def take_up(self) -> None:
        """Go on with a log that there is already.

        Raises:
            OSError: If it cannot be read.
        """
        self.size, tail = read_tail(self.file.path, self._preview_limit)
        self.file.size = self.printed = self.size
        self._tail[:] = tail
        self.truncated = self.size >= self._limit


class JobLogs:
    """Both streams of a job. It belongs to one event loop, and never waits for the disk there.

    Attributes:
        streams: stdout and stderr.
        failure: Why output could not be written, or None.
        on_failure: Called when that happens: the script is to be ended.
        on_room: Called when there is room again after `is_full`.
        on_loss: Called with a stream of which something came after the end of the job.
    """

    def __init__(self, job_id: str, limits: RunnerConfig, disk: Disk) -> None:
        """Begin; an empty log has no file.

        Args:
            job_id: The job.
            limits: Where the files are, and how long they may be.
            disk: What writes them.
        """
        self._folder = limits.logs_dir
        self._preview_limit = limits.preview_max_bytes
        bounds = limits.max_log_bytes_per_stream, self._preview_limit
        self.streams = {
            stream: LogWriter(f"{self._folder}/{log_name(job_id, stream)}", *bounds)
            for stream in STREAMS
        }
        self.failure: OSError | None = None
        self.on_failure: Callable[[], object] = _nothing
        self.on_room: Callable[[], None] = _nothing
        self.on_loss: Callable[[Stream], None] = _no_loss
        self._disk = disk
        self._waiting_bytes = 0
        self._turn = asyncio.Lock()
        """Held by who writes, so that output stays in its order."""
        self._timer: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """See that files can be made, before a script runs that may print.

        Raises:
            OSError: If they cannot, as far as that can be told beforehand.
        """
        # From the event loop: the start of a script looks for its file there as well.
        check_folder(self._folder)
        for writer in self.streams.values():
            # Such as a link that somebody has put there.
            if os.path.lexists(writer.file.name):
                raise FileExistsError(errno.EEXIST, "there is a file", writer.file.name)

    async def take_up(self) -> None:
        """Go on with the logs of a job that was started before the runner was.

        Raises:
            OSError: If they cannot be read.
        """
        for stream in self.streams.values():
            await self._disk.run(stream.take_up)

    @property
    def is_full(self) -> bool:
        """Whether no more should be taken from the script until `on_room` is called."""
        return self._waiting_bytes >= MOST_WAITING_BYTES

    def write(self, stream: Stream, data: bytes) -> None:
        """Take what the script printed; it is written soon, or thrown away after a failure."""
        if self.failure is not None:
            self.streams[stream].truncated = True
            return
        self._waiting_bytes += self.streams[stream].write(data)
        if not self._waiting_bytes or self._turn.locked():
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._begin)
        if self._waiting_bytes >= FLUSH_BYTES:
            self._timer.cancel()
            self._begin()

    async def previews(self, *, ended: bool) -> list[str]:
        """The previews of stdout and stderr; see `LogWriter.preview`."""
        writers = self.streams.values()
        if self._preview_limit <= SMALL_BYTES:
            return [writer.preview(ended=ended) for writer in writers]
        return await self._disk.run(lambda: [writer.preview(ended=ended) for writer in writers])

    async def flush(self) -> None:
        """Wait until what was printed by now is in the files, or cannot be."""
        if self._waiting_bytes:
            # A task of its own: a caller that goes away does not stop it half way.
            await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def close(self) -> None:
        """Write what waits and close the files; `failure` tells whether that could be done."""
        while self._waiting_bytes or any(stream.file.is_open for stream in self.streams.values()):
            await self._write(close=True)
        # Whoever waits for that holds this in turn.
        self.on_failure = self.on_room = _nothing

    def lose(self, stream: Stream) -> None:
        """Note that something was printed that came too late for the log."""
        self.streams[stream].truncated = True
        self.on_loss(stream)

    def _begin(self) -> None:
        self._timer = None
        self._flushing = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        while self._waiting_bytes:
            await self._write()

    async def _write(self, *, close: bool = False) -> None:
        """Have what waits written, and no more be waited for."""
        async with self._turn:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            parts = [(stream.file, stream.waiting) for stream in self.streams.values()]
            size = sum(len(data) for _, waiting in parts for data in waiting)
            for stream in self.streams.values():
                stream.waiting = []
            work = functools.partial(_write_parts, parts, close=close)
            while error := await self._disk.run(work):
                if not is_shortage(error):
                    self._fail(error)
                    break
                name = parts[0][0].path.stem
                log.event("error", message=f"{name} has to wait: {error.strerror}")
                await asyncio.sleep(RETRY_SECONDS)
            for writer in self.streams.values():
                if writer.on_written is not None:
                    writer.on_written()
        was_full = self.is_full
        self._waiting_bytes -= size
        if was_full and not self.is_full:
            self.on_room()

    def _fail(self, error: OSError) -> None:
        self.failure = error
        for stream in self.streams.values():
            self._waiting_bytes -= stream.drop_waiting()
        self.on_failure()


def _write_parts(parts: Sequence[tuple[LogFile, list[bytes]]], *, close: bool) -> OSError | None:
    """Write in a thread; returns what failed. What was written is taken out of the parts."""
    failure: OSError | None = None
    for file, waiting in parts:
        try:
            file.write(waiting)
        except OSError as error:
            failure = error
    if close and not (failure and is_shortage(failure)):
        for file, _ in parts:
            try:
                file.close()
            except OSError as error:
                failure = failure or error
    return failure


def _nothing() -> None:
    """What is called if nobody wants to know."""


def _no_loss(_: Stream) -> None:
    """The same for `on_loss`."""
