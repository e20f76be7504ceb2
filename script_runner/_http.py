"""The HTTP client: one deadline for a whole call, a bound on its response, warm connections.

`HttpClient` and `AsyncHttpClient` are an `httpx.Client` and an `httpx.AsyncClient` over transports
of our own, and raise httpx's exceptions only. They send a request once, as it is: no redirects,
cookies or hooks, none of which is wanted, and which would take a part of the time of a call.

A call is described by an `Exchange`, which a copy of the client carries to the transport in the
request's extensions. httpx limits each read, so a response that drips would be waited for without
end; in the pools here every timeout is a *point in time* of `time.monotonic()`, which the streams
at the bottom turn into what is left of the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import httpcore
import httpx

from script_runner._address import Address
from script_runner._fork import renew_after_fork
from script_runner._network import AsyncBackend, Backend
from script_runner._settings import MAX_TARGET_BYTES, Settings
from script_runner.errors import InvalidInput

SWEEP_SECONDS = 0.5
"""How long after the time for which they are kept idle connections are closed."""


class ResponseTooLarge(httpx.DecodingError):
    """A response of more than `Settings.max_response_bytes`."""


class NotHttp(httpx.RemoteProtocolError):
    """What came is no HTTP response."""


@dataclass
class Exchange:
    """One call: what it may take, what was asked, what came.

    Attributes:
        deadline: When the call must be over, as `time.monotonic()` tells it.
        connected_by: When it must have a connection.
        max_bytes: The most bytes of its response, as it came and unpacked.
        request: What was sent, or would have been; None if the call did not get so far.
        status: The status of the response; None if none came.
        headers: The headers of the response.
        body: The whole of its body, unpacked; None if it did not come whole.
    """

    deadline: float
    connected_by: float
    max_bytes: int
    request: httpx.Request | None = None
    status: int | None = None
    headers: httpx.Headers | None = None
    body: bytes | None = None

    @classmethod
    def starting_now(cls, seconds: float, settings: Settings) -> Self:
        """A call that may take so long."""
        now = time.monotonic()
        return cls(now + seconds, now + settings.connect_seconds, settings.max_response_bytes)

    def extensions(self) -> dict[str, Any]:
        """What httpcore is to hand down to the streams below: points in time."""
        connected_by = min(self.connected_by, self.deadline)
        return {"timeout": {"connect": connected_by, "read": self.deadline, "write": self.deadline}}

    def begin(self, request: httpx.Request) -> None:
        """Note what is asked.

        Raises:
            httpx.InvalidURL: If no server would take it.
        """
        request.extensions["exchange"] = self
        self.request = request
        if len(request.url.raw_path) > MAX_TARGET_BYTES:
            raise httpx.InvalidURL(f"the path is longer than {MAX_TARGET_BYTES} bytes")

    def response(self, head: httpcore.Response, raw: bytes) -> httpx.Response:
        """The response, whose body has come whole."""
        response = _BoundedResponse(self, head, raw)
        self.body = response.content
        return response


class HttpClient(httpx.Client):
    """An `httpx.Client` of one script-runner. Safe between threads, and after a fork."""

    exchange: Exchange

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; nothing is sent.

        Args:
            address: Where the runner is, and the proxy on the way.
            settings: Times and limits.

        Raises:
            InvalidInput: If the certificates that the environment names cannot be read.
        """
        self._settings = settings
        self._connections = Transport(address, settings)
        super().__init__(transport=self._connections, **_options(address))

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._connections.break_off()

    def for_one_call(self, seconds: float) -> Self:
        """A copy that shares the connections, for one request that may take so long."""
        one = copy.copy(self)
        one.exchange = Exchange.starting_now(seconds, self._settings)
        return one

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request and read its response, by the deadline of `exchange`."""
        self.exchange.begin(request)
        return self._connections.handle_request(request)


class AsyncHttpClient(httpx.AsyncClient):
    """The same for asyncio."""

    exchange: Exchange

    def __init__(self, address: Address, settings: Settings) -> None:
        """See `HttpClient`."""
        self._settings = settings
        self._connections = AsyncTransport(address, settings)
        super().__init__(transport=self._connections, **_options(address))

    def for_one_call(self, seconds: float) -> Self:
        """See `HttpClient.for_one_call`."""
        one = copy.copy(self)
        one.exchange = Exchange.starting_now(seconds, self._settings)
        return one

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """See `HttpClient.send`."""
        self.exchange.begin(request)
        return await self._connections.handle_async_request(request)


def _options(address: Address) -> dict[str, Any]:
    # httpx would put the credentials of a URL into messages; here they are only in a header.
    sign_in = {"Authorization": address.authorization} if address.authorization else {}
    return {
        "base_url": address.url,
        "trust_env": False,
        "timeout": None,
        "headers": {
            "Host": address.host_header,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "script-runner-proxy",
            **sign_in,
        },
    }


# -- transports


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
        self._sweeper: threading.Timer | None = None
        renew_after_fork(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read all of its response.

        Raises:
            httpx.TransportError: If no whole response came in time.
            httpx.DecodingError: If it is not packed as it says, or too large.
        """
        exchange: Exchange = request.extensions["exchange"]
        with _httpx_errors(request):
            connection, stale = self._idle.take()
            for each in stale:
                each.close()
            if connection is None:
                connection = self._pool.create_connection(self._origin)
            try:
                head = connection.handle_request(_core_request(request, self._origin, exchange))
                exchange.status, exchange.headers = head.status, httpx.Headers(head.headers)
                try:
                    assert isinstance(head.stream, Iterable)
                    raw = b"".join(_bounded(head.stream, exchange))
                finally:
                    head.close()
            finally:
                self._give_back(connection)
        return exchange.response(head, raw)

    def _give_back(self, connection: httpcore.ConnectionInterface) -> None:
        if not self._idle.keep(connection):
            connection.close()
        elif self._sweeper is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(self._idle.seconds + SWEEP_SECONDS, self._sweep)
        self._sweeper.daemon = True
        # No thread can be had at the end of the interpreter, or in a process that has too many.
        with contextlib.suppress(RuntimeError):
            self._sweeper.start()

    def _sweep(self) -> None:
        for connection in self._idle.expired():
            connection.close()
        if self._idle:
            self._sweep_later()
        else:
            self._sweeper = None

    def renew(self) -> None:
        """Let go of all that the parent of this process shares, without a word to the server."""
        self._backend.close_streams()
        self._idle.renew()
        self._sweeper = None

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._backend.break_off()

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        for connection in self._idle.close():
            connection.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """The same for asyncio; what is idle is closed by the event loop."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; see `HttpClient`."""
        self._pool = _pool(
            httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, address, settings, AsyncBackend()
        )
        self._origin = _origin(address.url)
        self._idle: _IdleConnections[httpcore.AsyncConnectionInterface] = _IdleConnections(settings)
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        renew_after_fork(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `Transport.handle_request`."""
        exchange: Exchange = request.extensions["exchange"]
        with _httpx_errors(request):
            connection, stale = self._idle.take()
            for each in stale:
                await each.aclose()
            if connection is None:
                connection = self._pool.create_connection(self._origin)
            try:
                head = await connection.handle_async_request(
                    _core_request(request, self._origin, exchange)
                )
                exchange.status, exchange.headers = head.status, httpx.Headers(head.headers)
                try:
                    parts = []
                    size = 0
                    async for part in head.aiter_stream():
                        size += len(part)
                        _check_size(size, exchange)
                        parts.append(part)
                finally:
                    await head.aclose()
            finally:
                await self._give_back(connection)
        return exchange.response(head, b"".join(parts))

    async def _give_back(self, connection: httpcore.AsyncConnectionInterface) -> None:
        if not self._idle.keep(connection):
            await connection.aclose()
        elif self._sweeper is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self._idle.seconds + SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = asyncio.ensure_future(self._close(self._idle.expired()))
        self._sweeper = None
        if self._idle:
            self._sweep_later()

    async def _close(self, connections: list[httpcore.AsyncConnectionInterface]) -> None:
        for connection in connections:
            await connection.aclose()

    def renew(self) -> None:
        """Let go of all that the parent of this process shares."""
        self._idle.renew()
        self._sweeper = None

    async def aclose(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._close(self._idle.close())


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

    def __len__(self) -> int:
        return len(self._connections)

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

    def keep(self, connection: C) -> bool:
        """Keep a connection for another call; false if it cannot be used again."""
        if not connection.is_idle() or _has_more(connection):
            return False
        with self._lock:
            if self._is_closed or len(self._connections) >= self._most:
                return False
            self._connections.append(connection)
        return True

    def expired(self) -> list[C]:
        """Those that were idle too long, or that the server has closed; they are let go."""
        with self._lock:
            expired = [each for each in self._connections if each.has_expired()]
            self._connections = [each for each in self._connections if each not in expired]
        return expired

    def close(self) -> list[C]:
        """All of them; none is kept any more."""
        with self._lock:
            self._is_closed = True
            connections, self._connections = self._connections, []
        return connections


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


# -- responses


class _BoundedResponse(httpx.Response):
    """A response that is unpacked only up to a bound, if a server packs it although not asked."""

    def __init__(self, exchange: Exchange, head: httpcore.Response, raw: bytes) -> None:
        self._exchange = exchange
        super().__init__(
            head.status, headers=exchange.headers, content=raw, request=exchange.request
        )

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        return _bounded(super().iter_bytes(chunk_size), self._exchange)


def _bounded(parts: Iterable[bytes], exchange: Exchange) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        _check_size(size, exchange)
        yield part


def _check_size(size: int, exchange: Exchange) -> None:
    if size > exchange.max_bytes:
        raise ResponseTooLarge(f"larger than {exchange.max_bytes} bytes")


@contextlib.contextmanager
def _httpx_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except _CORE_ERRORS as error:
        # The classes of the two libraries have the same names.
        kind = getattr(httpx, type(error).__name__)
        has_status = request.extensions["exchange"].status is not None
        if kind is httpx.RemoteProtocolError and not has_status:
            # Made of an error of the parser; for a connection that was closed, of a text.
            kind = NotHttp if isinstance(error.args[0], Exception) else kind
        raise kind(str(error), request=request) from error


_CORE_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
