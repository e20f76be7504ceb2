"""The HTTP client for asyncio; see `script_runner._http`, which imports no asyncio."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Any

import httpcore
import httpx

from script_runner._address import Address
from script_runner._connections import (
    IdleConnections,
    OneRunner,
    client_options,
    core_request,
    origin_of,
    pool_of,
)
from script_runner._exchange import Exchange
from script_runner._fork import renew_after_fork
from script_runner._network import AsyncBackend
from script_runner._settings import Settings

_AsyncIdle = IdleConnections[httpcore.AsyncConnectionInterface]


class AsyncHttpClient(OneRunner, httpx.AsyncClient):
    """The same for asyncio."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """See `HttpClient`."""
        self._settings = settings
        self._connections = AsyncTransport(address, settings)
        super().__init__(transport=self._connections, **client_options(address))

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """See `HttpClient.send`."""
        self.exchange.begin(request)
        return await self._connections.handle_async_request(request)


class AsyncTransport(httpx.AsyncBaseTransport):
    """The same for asyncio; what is idle is closed by the event loop, and of no use in another."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; see `HttpClient`."""
        self._pool = pool_of(
            httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, address, settings, AsyncBackend()
        )
        self._origin = origin_of(address)
        self._settings = settings
        self._is_closed = False
        self._sweeping: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: Callable[[], _AsyncIdle | None] = _nothing
        renew_after_fork(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `Transport.handle_request`."""
        exchange: Exchange = request.extensions.pop("exchange")
        idle = self._idle_here()
        with exchange.httpx_errors():
            connection, stale = idle.take()
            await self._close(stale)
            if connection is None:
                connection = self._pool.create_connection(self._origin)
            try:
                head = await connection.handle_async_request(
                    core_request(request, self._origin, exchange)
                )
                exchange.came(head)
                parts, size = [], 0
                try:
                    async for part in head.aiter_stream():
                        parts.append(part)
                        size += len(part)
                        exchange.check_size(size)
                finally:
                    await head.aclose()
            finally:
                await self._give_back(connection, idle)
        return exchange.response(b"".join(parts))

    def _idle_here(self) -> _AsyncIdle:
        """The idle connections of the event loop that runs now."""
        loop, idle = asyncio.get_running_loop(), self._idle()
        if idle is None or loop is not self._loop:
            # Those of another event loop are closed by it, or go with it.
            idle = IdleConnections(self._settings)
            self._loop, self._idle = loop, weakref.ref(idle)
        return idle

    async def _give_back(
        self, connection: httpcore.AsyncConnectionInterface, idle: _AsyncIdle
    ) -> None:
        if self._is_closed or not idle.keep(connection, lambda: self._sweep_later(idle)):
            await connection.aclose()

    def _sweep_later(self, idle: _AsyncIdle) -> None:
        # Nobody else holds `idle` between calls, so what is in it goes if the event loop is closed.
        asyncio.get_running_loop().call_later(idle.sweep_seconds, self._sweep, idle)

    def _sweep(self, idle: _AsyncIdle) -> None:
        expired, are_left = idle.expired()
        if are_left:
            self._sweep_later(idle)
        # Kept, for a task that nobody knows may be collected before it has run.
        self._sweeping = asyncio.ensure_future(self._close(expired))

    async def _close(self, connections: list[httpcore.AsyncConnectionInterface]) -> None:
        for connection in connections:
            await connection.aclose()

    def renew(self) -> None:
        """Let go of all that the parent of this process shares."""
        self._loop, self._idle = None, _nothing

    async def aclose(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        self._is_closed = True
        await self._close(self._idle_here().close())


def _nothing() -> None:
    """What a weak reference gives once its object is gone."""
