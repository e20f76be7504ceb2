"""Brings a generator of `script_runner.logs` the pages it asks for, with threads and with asyncio.

The page after the one that is wanted is asked for at the same time, so that the runner makes it
while this one is taken apart here.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from generated_client.models import LogPage
from script_runner.logs import PageRequest, Reading

T = TypeVar("T")

THREADS = 2
"""One takes a page apart while the other one waits for the next."""


def read(reading: Reading[T], ask: Callable[[PageRequest], LogPage]) -> T:
    """Bring a generator its pages.

    Args:
        reading: The generator.
        ask: Asks for a page.

    Returns:
        What the generator returns.
    """
    expected: PageRequest | None = None
    asked: Future[LogPage] | None = None
    helper: _Helper | None = None
    try:
        request = next(reading)
        while True:
            was_asked = asked if request == expected else None
            expected, asked = request.then, None
            if expected is not None:
                helper = helper or _Helper(ask)
                asked = helper.ask(expected)
            page = ask(request) if was_asked is None else was_asked.result()
            request = reading.send(page)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        if helper is not None:
            helper.end()


class _Helper:
    """Asks for pages in threads of its own."""

    def __init__(self, ask: Callable[[PageRequest], LogPage]) -> None:
        self._ask = ask
        self._wanted: SimpleQueue[tuple[PageRequest, Future[LogPage]] | None] = SimpleQueue()
        self._threads = 0
        # At the end of the interpreter, or in a process that has too many, none can be started.
        with contextlib.suppress(RuntimeError):
            while self._threads < THREADS:
                threading.Thread(target=self._run, daemon=True).start()
                self._threads += 1

    def ask(self, request: PageRequest) -> Future[LogPage] | None:
        """Ask for a page; None if that must be done in its turn."""
        if not self._threads:
            return None
        future: Future[LogPage] = Future()
        self._wanted.put((request, future))
        return future

    def end(self) -> None:
        """No more is wanted; what is under way ends by the timeout of its call."""
        for _ in range(self._threads):
            self._wanted.put(None)

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            request, future = wanted
            try:
                future.set_result(self._ask(request))
            except BaseException as error:
                future.set_exception(error)


async def read_async(
    reading: Reading[T], ask: Callable[[PageRequest], Coroutine[Any, Any, LogPage]]
) -> T:
    """The same for asyncio."""
    expected: PageRequest | None = None
    asked: asyncio.Task[LogPage] | None = None
    try:
        request = next(reading)
        while True:
            was_asked = asked if request == expected else None
            if asked is not None and was_asked is None:
                asked.cancel()  # nobody would take what it brings, nor why it failed
            expected = request.then
            asked = None if expected is None else asyncio.create_task(ask(expected))
            page = await (ask(request) if was_asked is None else was_asked)
            request = reading.send(page)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        if asked is not None:
            asked.cancel()
