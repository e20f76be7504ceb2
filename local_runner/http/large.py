"""Large responses: encoded one at a time and as there is room, however slowly callers read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from weakref import WeakValueDictionary

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local_runner.http.encoding import PIECE_BYTES, JsonResponse, WireModel, encode

MAX_UNSENT_BYTES = 64 * 1024 * 1024
"""The most that is held in responses that are not sent yet; who needs more waits for others."""

SLOW_SECONDS = 1.0
"""A caller that has read nothing for so long is cut off if others wait for it."""


Make = Callable[[], Awaitable[bytes]]
"""Makes the JSON of a response."""


class LargeResponses:
    """Makes responses that hold much memory until they are sent; it belongs to one event loop."""

    def __init__(self, drop_slowest: Callable[[float], object]) -> None:
        """Begin with nothing held.

        Args:
            drop_slowest: Cuts off the caller that has read nothing for longest, if that is for
                longer than so many seconds.
        """
        self._drop_slowest = drop_slowest
        self._held = 0
        self._freed = asyncio.Event()
        self._first = asyncio.Lock()
        """Held by the one that gets the next room."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # More at once would be made no sooner, and the event loop would wait for all of them.
        self._encoding = asyncio.Lock()

    def response(self, subject: str, size: int, make: Make) -> Response:
        """A response whose JSON is made when there is room for it.

        Args:
            subject: What it is about, such as a log; those of one are made one after another, so
                that the disk of one takes no room from others.
            size: About how many bytes it will have.
            make: Makes it. It may wait for a disk.
        """
        return _LargeResponse(self, subject, size, make)

    async def encoded(self, model: WireModel | Mapping[str, object], size: int) -> bytes:
        """JSON of about a size, made in a thread if that takes longer than the way to it."""
        if size <= PIECE_BYTES:
            return encode(model)
        async with self._encoding:
            return await asyncio.to_thread(encode, model)

    async def send(
        self, subject: str, size: int, make: Make, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Make a response when there is room for it, and send it."""
        held = 0
        turn = self._turns.get(subject) or self._turns.setdefault(subject, asyncio.Lock())
        try:
            async with turn:
                async with self._first:
                    await self._room()
                    self._held += size
                    held = size
                body = await make()
            self._held += len(body) - held
            held = len(body)
            self._freed.set()
            await JsonResponse(body)(scope, receive, send)
        finally:
            self._held -= held
            self._freed.set()

    async def _room(self) -> None:
        while self._held >= MAX_UNSENT_BYTES:
            self._drop_slowest(SLOW_SECONDS)
            self._freed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLOW_SECONDS):
                    await self._freed.wait()


class _LargeResponse(Response):
    def __init__(self, responses: LargeResponses, subject: str, size: int, make: Make) -> None:
        self._responses = responses
        self._subject = subject
        self._size = size
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._responses.send(self._subject, self._size, self._make, scope, receive, send)
