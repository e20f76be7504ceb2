"""The verbs of both clients for tests that do not care which one it is."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from script_runner import AsyncScriptRunner, ScriptRunner

Connected = Callable[..., Any]
"""Makes a client; it takes what `ScriptRunner` takes."""


class Awaited:
    """An `AsyncScriptRunner` whose verbs are awaited in an event loop of its own."""

    def __init__(self, runner: AsyncScriptRunner, loop: asyncio.Runner) -> None:
        """Take the client."""
        self._runner = runner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        """An attribute of the client, a verb of it such that it waits."""
        attribute = getattr(self._runner, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        return lambda *args, **options: self._loop.run(attribute(*args, **options))


@contextmanager
def clients(kind: str) -> Iterator[Connected]:
    """Makes clients of a kind, `threads` or `asyncio`; they are closed at the end."""
    made: list[Any] = []
    with asyncio.Runner() as loop:

        def connected(*args: Any, **options: Any) -> Any:
            if kind == "threads":
                made.append(ScriptRunner(*args, **options))
            else:
                made.append(Awaited(AsyncScriptRunner(*args, **options), loop))
            return made[-1]

        yield connected
        for client in made:
            client.close()


@pytest.fixture(params=["threads", "asyncio"])
def connected(request: pytest.FixtureRequest) -> Iterator[Connected]:
    """Makes a client; each test that uses it runs once with each kind."""
    with clients(request.param) as made:
        yield made
