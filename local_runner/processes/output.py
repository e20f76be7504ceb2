"""What a script prints, on its way from the pipes to the logs; and what comes too late for them."""

from __future__ import annotations

import array
import asyncio
import fcntl
import functools
import os
import termios
from collections.abc import Callable, Mapping

from local_runner import log
from local_runner.jobs.record import Stream
from local_runner.storage.job_logs import JobLogs

READ_BYTES = 64 * 1024
"""The most that is read of a stream at once: the size of a pipe on Linux."""

WATCH_SECONDS = 0.005
"""Output is looked for after so long, or at the end of the script: to watch the pipes of one that
ends before that would cost more than to read them."""

MOST_LEFTOVERS = 256
"""How many pipes are read on after the ends of their jobs; each is an open file of the runner."""

LEFTOVER_PAUSE_SECONDS = 0.05
"""How often such a pipe is read at most, so that a flood costs little; its writer waits."""


class Output:
    """The pipes of a running script. It belongs to one event loop."""

    def __init__(self, pipes: Mapping[Stream, int], logs: JobLogs) -> None:
        """Take over the ends to read of some pipes; they must not block."""
        self._loop = asyncio.get_running_loop()
        self._pipes = dict(pipes)
        self._logs = logs
        self._watched = False
        self._paused = False
        self._closed = asyncio.Event()
        self._timer = self._loop.call_later(WATCH_SECONDS, self._watch)
        logs.on_room = self._go_on

    async def collect(self, seconds: float) -> None:
        """Read what there is, and wait a while for the pipes to be closed.

        It ends with a last look: what was printed in time is not lost because the runner was slow.

        Args:
            seconds: How long to wait.
        """
        self._timer.cancel()
        deadline = self._loop.time() + seconds
        while True:
            for stream in list(self._pipes):
                self._drain(stream)
            left = deadline - self._loop.time()
            if not self._pipes:
                return
            if self._logs.is_full:
                await self._logs.flush()
            elif left <= 0:
                return
            else:
                self._watch()
                await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            pass

    def leave_to(self, leftovers: Leftovers) -> None:
        """Let somebody else read on: whoever holds the pipes still must not die of SIGPIPE."""
        for stream in list(self._pipes):
            self._unwatch(stream)
            lose = functools.partial(self._logs.lose, stream)
            leftovers.adopt(self._pipes.pop(stream), lose)

    def close(self) -> None:
        """Read no more."""
        self._timer.cancel()
        for stream in list(self._pipes):
            self._close(stream)

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            if not self._paused:
                self._add_readers()

    def _add_readers(self) -> None:
        for stream, pipe in self._pipes.items():
            self._loop.add_reader(pipe, self._read, stream)

    def _unwatch(self, stream: Stream) -> None:
        if self._watched:
            self._loop.remove_reader(self._pipes[stream])

    def _read(self, stream: Stream) -> int:
        """Read once; returns how much there was."""
        try:
            data = os.read(self._pipes[stream], READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self._close(stream)
            return 0
        self._logs.write(stream, data)
        if self._logs.is_full and not self._paused:
            self._paused = True
            for other in self._pipes:
                self._unwatch(other)
        return len(data)

    def _drain(self, stream: Stream) -> None:
        """Read what is in a pipe now, not what somebody goes on to write."""
        left: int | None = None
        while not self._logs.is_full and (read := self._read(stream)):
            if left is None:
                # Asked once there is something: most pipes are empty after one read, or before.
                left = _bytes_in(self._pipes[stream]) if read == READ_BYTES else 0
            else:
                left -= read
            if left < 0:
                return

    def _go_on(self) -> None:
        self._paused = False
        if self._watched:
            self._add_readers()

    def _close(self, stream: Stream) -> None:
        self._unwatch(stream)
        os.close(self._pipes.pop(stream))
        if not self._pipes:
            self._closed.set()


class Leftovers:
    """Pipes that are held open after the ends of their jobs. What comes is thrown away."""

    def __init__(self) -> None:
        """Begin with none."""
        self._pipes: dict[int, Callable[[], None]] = {}
        self._paused: dict[int, asyncio.TimerHandle] = {}

    def adopt(self, pipe: int, on_output: Callable[[], None]) -> None:
        """Read a pipe from now on, until it is closed.

        Args:
            pipe: The end to read; it must not block.
            on_output: Called once there is anything.
        """
        if len(self._pipes) >= MOST_LEFTOVERS:
            log.event(
                "warning",
                message=f"{MOST_LEFTOVERS} processes that ended jobs left behind hold their output "
                "open: that of the oldest is closed, which may end it",
            )
            self._close(next(iter(self._pipes)))
        self._pipes[pipe] = on_output
        self._watch(pipe)

    def close(self) -> None:
        """Read no more."""
        for pipe in list(self._pipes):
            self._close(pipe)

    def _watch(self, pipe: int) -> None:
        self._paused.pop(pipe, None)
        asyncio.get_running_loop().add_reader(pipe, self._read, pipe)

    def _read(self, pipe: int) -> None:
        if not os.read(pipe, _bytes_in(pipe) or 1):
            self._close(pipe)
            return
        self._pipes[pipe]()
        self._pipes[pipe] = _nothing
        loop = asyncio.get_running_loop()
        loop.remove_reader(pipe)
        self._paused[pipe] = loop.call_later(LEFTOVER_PAUSE_SECONDS, self._watch, pipe)

    def _close(self, pipe: int) -> None:
        del self._pipes[pipe]
        if paused := self._paused.pop(pipe, None):
            paused.cancel()
        else:
            asyncio.get_running_loop().remove_reader(pipe)
        os.close(pipe)


def _bytes_in(pipe: int) -> int:
    """How much could be read now."""
    size = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0]


def _nothing() -> None:
    """What is called from the second time on."""
