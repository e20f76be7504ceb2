"""What both transports share: idle connections, and what httpx and httpcore are made with."""

from __future__ import annotations

import copy
import ssl
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, Self, TypeVar

import httpcore
import httpx

from script_runner._address import Address
from script_runner._exchange import Exchange
from script_runner._settings import Settings
from script_runner.errors import InvalidInput

SWEEP_SECONDS = 0.5
"""How long after the time for which they are kept idle connections are closed."""


class _Connection(Protocol):
    def is_idle(self) -> bool: ...

    def has_expired(self) -> bool: ...


C = TypeVar("C", bound=_Connection)


class IdleConnections(Generic[C]):
    """The idle connections of a transport, the one used last at the end.

    Attributes:
        sweep_seconds: How often those that were idle too long are to be closed.
    """

    def __init__(self, settings: Settings) -> None:
        """Hold none yet."""
        self.sweep_seconds = settings.keep_alive_seconds + SWEEP_SECONDS
        self._most = settings.max_idle_connections
        self._is_closed = False
        self.renew()

    def renew(self) -> None:
        """Forget all of them."""
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


def _has_more(connection: object) -> bool:
    """Whether more has come than the response, which would be taken for the next response."""
    # httpcore does not look, and does not show what it has read.
    while (inner := getattr(connection, "_connection", None)) is not None:
        connection = inner
    parser = getattr(connection, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


P = TypeVar("P")


def pool_of(
    direct: Callable[..., P],
    through_proxy: Callable[..., P],
    address: Address,
    settings: Settings,
    backend: object,
) -> P:
    """A pool of httpcore, which here only makes the connections."""
    options: dict[str, Any] = {
        # Reading the certificates takes 17 ms, so only if they are of use.
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


def origin_of(address: Address) -> httpcore.Origin:
    """What httpcore calls the server of a URL."""
    url = address.url
    default = 443 if url.scheme == "https" else 80
    host = url.raw_host
    if address.proxy is not None and b":" in host:
        # httpcore asks a proxy for an IPv6 address without its brackets.
        host = b"[%b]" % host
    return httpcore.Origin(url.raw_scheme, host, url.port or default)


def core_request(
    request: httpx.Request, origin: httpcore.Origin, exchange: Exchange
) -> httpcore.Request:
    """The request as httpcore takes it."""
    return httpcore.Request(
        request.method,
        httpcore.URL(
            scheme=origin.scheme, host=origin.host, port=origin.port, target=request.url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=exchange.extensions(),
    )


def client_options(address: Address) -> dict[str, Any]:
    """What an httpx client is made with, besides its transport."""
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


class OneRunner:
    """What the `httpx` clients of both kinds have for calls of one script-runner.

    Attributes:
        exchange: The one call of a copy that `for_one_call` has made.
    """

    exchange: Exchange
    _settings: Settings

    def for_one_call(self, seconds: float) -> Self:
        """A copy that shares the connections, for one request that may take so long."""
        one = copy.copy(self)
        one.exchange = Exchange.starting_now(seconds, self._settings)
        return one

    def build_request(
        self: Any,  # a client of httpx as well, of either kind
        method: str,
        url: httpx.URL | str,
        *,
        params: Any = None,
        json: Any = None,
        headers: Any = None,
        **_: Any,
    ) -> httpx.Request:
        """A request to a path of the runner; httpx itself merges and parses what is not here."""
        merged = self.headers
        if headers:
            merged = merged.copy()
            merged.update(headers)
        whole = f"{str(self.base_url).rstrip('/')}{url}"
        return httpx.Request(method, whole, params=params or None, json=json, headers=merged)
