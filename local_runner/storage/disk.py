"""Threads for work that may wait for a disk, so that the event loop never does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_Work = Callable[[], None] | None
"""What a thread is to do; None ends it."""

THREADS = 4
"""One that waits for a slow disk leaves others to go on; more would only compete for a core."""


class Outbox(Generic[T]):
    """What an event loop has for threads; it is handed over when the loop has done what it had to.

    Threads that begin at once take turns with the loop, which costs both: a tenth more CPU of a
    short job.

    Attributes:
        queue: Where the threads find it.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.queue: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._waiting: list[T] = []

    def put(self, item: T) -> None:
        """Add something, from within the loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._waiting.append(item)

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            self.queue.put(item)


class Disk:
    """A few threads. Work is begun in the order it comes; each piece is done by one of them.

    They end when nobody has it any more and all is done.
    """

    def __init__(self, threads: int = THREADS) -> None:
        """Start the threads.

        Args:
            threads: How many. Work that must go on while others wait for a disk has its own.

        Raises:
            RuntimeError: If the system has no threads to give.
        """
        self._work: Outbox[_Work] = Outbox()
        # Of the outbox, which outlives this as long as there is something to hand over.
        weakref.finalize(self._work, _end, self._work.queue, threads)
        for number in range(threads):
            # Daemons: a disk that hangs must not keep the process from ending.
            threading.Thread(
                target=_serve, args=[self._work.queue], name=f"disk-{number}", daemon=True
            ).start()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have some work done; its result or exception is that of the future."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put(functools.partial(_do, work, done))
        return done


def _serve(queued: queue.SimpleQueue[_Work]) -> None:
    while (work := queued.get()) is not None:
        work()
        # What it holds must not be held until there is more.
        del work


def _end(queued: queue.SimpleQueue[_Work], threads: int) -> None:
    for _ in range(threads):
        queued.put(None)


def _do(work: Callable[[], Any], done: asyncio.Future[Any]) -> None:
    result: Any = None
    error: BaseException | None = None
    try:
        result = work()
    except BaseException as raised:
        error = raised
    settle_from_thread(done.get_loop(), [(done, result, error)])


Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]
"""A future with its result and its exception, or None."""


class _Outcomes:
    """Outcomes on their way from threads to a loop: what comes while it is busy wakes it once."""

    def __init__(self) -> None:
        self._waiting: deque[Outcome] = deque()
        self._is_told = False

    def add(self, loop: asyncio.AbstractEventLoop, outcomes: Iterable[Outcome]) -> None:
        self._waiting.extend(outcomes)
        # After they were added: the loop takes this back before it looks for them.
        if not self._is_told:
            self._is_told = True
            # Nobody waits any more on a loop that is closed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_told = False
        while self._waiting:
            done, result, error = self._waiting.popleft()
            if done.cancelled():
                continue
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)


_outcomes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Outcomes] = WeakKeyDictionary()


def settle_from_thread(loop: asyncio.AbstractEventLoop, outcomes: Iterable[Outcome]) -> None:
    """Give futures of a loop their results or exceptions, all in one call of the loop."""
    (_outcomes.get(loop) or _outcomes.setdefault(loop, _Outcomes())).add(loop, outcomes)
