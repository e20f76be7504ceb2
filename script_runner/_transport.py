"""The transports of the HTTP clients: warm connections, and one deadline for a whole call.

httpx limits each read, so a response that drips would be waited for without end. Here every timeout
that httpcore is given is a point in time of `time.monotonic()`, which the streams at the bottom
(`script_runner._network`) turn into what is left of the call.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import httpcore
import httpx

from script_runner._address import Address
from script_runner._exchange import Exchange
from script_runner._fork import renew_after_fork
from script_runner._network import AsyncBackend, Backend
from script_runner._settings import Settings
from script_runner.errors import InvalidInput

SWEEP_SECONDS = 0.5
"""How long after the time for which they are kept idle connections are closed."""


class Transport(httpx.BaseTransport):
    """Sends each request once, on an idle connection or a new one, by its `Exchange`'s deadline.

    Connections in use are not limited. Idle ones are closed after `Settings.keep_alive_seconds`,
    by a thread that lives as long as there are any. A process forked off begins without any.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; see `HttpClient`."""
        self._backend = Backend()
        self._pool = _pool(
            httpcore.ConnectionPool, httpcore.HTTPProxy, address, settings, self._backend
        )
        self._origin = _origin(address.url)
        self._idle: _IdleConnections[httpcore.ConnectionInterface] = _IdleConnections(settings)
        renew_after_fork(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read all of its response.

        Raises:
            httpx.TransportError: If no whole response came in time.
            httpx.DecodingError: If it is not packed as it says, or too large.
        """
        exchange: Exchange = request.extensions.pop("exchange")
        with exchange.httpx_errors():
            connection, stale = self._idle.take()
            for each in stale:
                each.close()
            if connection is None:
                connection = self._pool.create_connection(self._origin)
            try:
                head = connection.handle_request(_core_request(request, self._origin, exchange))
                exchange.came(head)
                parts, size = [], 0
                try:
                    for part in head.iter_stream():
                        parts.append(part)
                        size += len(part)
                        exchange.check_size(size)
                finally:
                    head.close()
            finally:
                self._give_back(connection)
        return exchange.response(b"".join(parts))

    def _give_back(self, connection: httpcore.ConnectionInterface) -> None:
        if not self._idle.keep(connection, self._begin_to_sweep):
            connection.close()

    def _begin_to_sweep(self) -> None:
        threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        are_left = True
        while are_left:
            time.sleep(self._idle.seconds + SWEEP_SECONDS)
            expired, are_left = self._idle.expired()
            for connection in expired:
                connection.close()

    def renew(self) -> None:
        """Let go of all that the parent of this process shares, without a word to the server."""
        self._backend.close_streams()
        self._idle.renew()

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._backend.break_off()

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        for connection in self._idle.close():
            connection.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """The same for asyncio; what is idle is closed by the event loop, and of no use in another."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; see `HttpClient`."""
        self._pool = _pool(
            httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, address, settings, AsyncBackend()
        )
        self._origin = _origin(address.url)
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
                    _core_request(request, self._origin, exchange)
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
            idle = _IdleConnections(self._settings)
            self._loop, self._idle = loop, weakref.ref(idle)
        return idle

    async def _give_back(
        self, connection: httpcore.AsyncConnectionInterface, idle: _AsyncIdle
    ) -> None:
        if self._is_closed or not idle.keep(connection, lambda: self._sweep_later(idle)):
            await connection.aclose()

    def _sweep_later(self, idle: _AsyncIdle) -> None:
        # Nobody else holds `idle` between calls, so what is in it goes if the event loop is closed.
        asyncio.get_running_loop().call_later(idle.seconds + SWEEP_SECONDS, self._sweep, idle)

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


class _Connection(Protocol):
    def is_idle(self) -> bool: ...

    def has_expired(self) -> bool: ...


C = TypeVar("C", bound=_Connection)


class _IdleConnections(Generic[C]):
    """The idle connections of a transport, the one used last at the end."""

    def __init__(self, settings: Settings) -> None:
        self.seconds = settings.keep_alive_seconds
        self._most = settings.max_idle_connections
        self._is_closed = False
        self.renew()

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[C] = []
        self._is_swept = False
        """Whether somebody will ask what is `expired`: always if there are any."""

    def take(self) -> tuple[C | None, list[C]]:
        """A connection that can be used, if there is one, and those that must be closed."""
        stale: list[C] = []
        with self._lock:
            while self._connections:
                connection = self._connections.pop()
                if not connection.has_expired():
                    return connection, stale
                stale.append(connection)
        return None, stale

    def keep(self, connection: C, begin_to_sweep: Callable[[], None]) -> bool:
        """Keep a connection for another call.

        Args:
            connection: The connection.
            begin_to_sweep: Plans to close what is `expired` later, until none is left.

        Returns:
            False if it cannot be used again, or nobody would close it in time.
        """
        if not connection.is_idle() or _has_more(connection):
            return False
        with self._lock:
            if self._is_closed or len(self._connections) >= self._most:
                return False
            if not self._is_swept:
                try:
                    begin_to_sweep()
                except RuntimeError:
                    # At the end of the interpreter, or in a process that has too many threads.
                    return False
                self._is_swept = True
            self._connections.append(connection)
        return True

    def expired(self) -> tuple[list[C], bool]:
        """Those that were idle too long, or that the server has closed, which are let go; and
        whether others are left."""
        with self._lock:
            expired = [each for each in self._connections if each.has_expired()]
            self._connections = [each for each in self._connections if each not in expired]
            self._is_swept = bool(self._connections)
            return expired, self._is_swept

    def close(self) -> list[C]:
        """All of them; none is kept any more."""
        with self._lock:
            self._is_closed = True
            connections, self._connections = self._connections, []
        return connections


def _nothing() -> None:
    """What a weak reference gives once its object is gone."""


_AsyncIdle = _IdleConnections[httpcore.AsyncConnectionInterface]


def _has_more(connection: object) -> bool:
    """Whether more has come than the response, which would be taken for the next response."""
    # httpcore does not look, and does not show what it has read.
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    parser = getattr(connection, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


P = TypeVar("P")


def _pool(
    direct: Callable[..., P],
    through_proxy: Callable[..., P],
    address: Address,
    settings: Settings,
    backend: object,
) -> P:
    """A pool of httpcore, which here only makes the connections."""
    options: dict[str, Any] = {
        # Reading the certificates takes 17 ms, so only where they are of use.
        "ssl_context": _tls() if address.url.scheme == "https" else None,
        "keepalive_expiry": settings.keep_alive_seconds,
        "network_backend": backend,
    }
    proxy = address.proxy
    if proxy is None:
        return direct(**options)
    if proxy.scheme == "https":
        options["proxy_ssl_context"] = _tls()
    credentials = (proxy.username.encode(), proxy.password.encode()) if proxy.userinfo else None
    where = str(proxy.copy_with(userinfo=b""))
    return through_proxy(proxy_url=where, proxy_auth=credentials, **options)


def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise InvalidInput(
            "the certificates that SSL_CERT_FILE or SSL_CERT_DIR of the environment names cannot "
            f"be read: {error}"
        ) from None


def _origin(url: httpx.URL) -> httpcore.Origin:
    default = 443 if url.scheme == "https" else 80
    return httpcore.Origin(url.raw_scheme, url.raw_host, url.port or default)


def _core_request(
    request: httpx.Request, origin: httpcore.Origin, exchange: Exchange
) -> httpcore.Request:
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=request.url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=exchange.extensions(),
    )
