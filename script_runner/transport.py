"""The HTTP transport of `connect`: a time limit for the whole of a call, a bound on its answer.

httpx limits the wait for each part of an answer, not for the whole: an answer that drips would be
waited for without end. httpcore, on which httpx stands, lets the limit be set where bytes are read.
"""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from script_runner.errors import InvalidInput

CONNECT_SECONDS = 5.0
"""How long a connection may take."""

ANSWER_SECONDS = 30.0
"""How long the whole of an answer may take."""

SYNC_RUN_SECONDS = 300.0
"""How long the answer to a sync run may take, which comes when the script has ended."""

KEEP_ALIVE_SECONDS = 3.0
"""How long an idle connection is kept; servers drop theirs after 5 s (Node's default)."""

MAX_IDLE_CONNECTIONS = 20
"""The most idle connections kept to one runner."""

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The largest answer: a log page of 1 MiB is six times that when each byte is escaped in JSON."""

WRITE_BYTES = 64 * 1024
"""The most bytes written between two looks at the clock."""

CONTAINER_HOST = "host.docker.internal"
"""The name by which a container reaches the machine it runs on."""

CALL_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
"""What `Transport` raises when a call fails, beside `AnswerTooLarge`."""


class AnswerTooLarge(Exception):
    """An answer of more than `MAX_ANSWER_BYTES`."""


_limit = threading.local()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit all reading and writing of this thread, as a whole, to a number of seconds."""
    _limit.deadline = time.monotonic() + seconds
    try:
        yield
    finally:
        del _limit.deadline


def _left(timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
    """The time left of the limit, or of `timeout` if that is less."""
    deadline: float | None = getattr(_limit, "deadline", None)
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time limit of the call is over")
    return left if timeout is None else min(timeout, left)


class _LimitedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # httpcore starts its timeout anew whenever the server has taken some of the bytes.
        for start in range(0, len(buffer), WRITE_BYTES):
            part = buffer[start : start + WRITE_BYTES]
            self._stream.write(part, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _LimitedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _LimitedBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _LimitedStream(
            self._backend.connect_tcp(host, port, left, local_address, socket_options)
        )


class _BoundedBody(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._answer.iter_stream():
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise AnswerTooLarge
            yield part

    def close(self) -> None:
        self._answer.close()


class Transport(httpx.BaseTransport):
    """Sends requests to one base URL, over as many connections as there are callers.

    A proxy of the environment (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) is used, except for this
    machine and the one that hosts the container.

    Attributes:
        proxy: The URL of that proxy, without credentials; None where none is used.
    """

    def __init__(self, base_url: httpx.URL) -> None:
        """Make the pool of connections; none is opened yet.

        Args:
            base_url: An http or https URL; only requests below it are sent.

        Raises:
            InvalidInput: If the certificates or the proxy of the environment cannot be used.
        """
        # Reading the certificates takes 17 ms, so only where they are of use.
        tls = _tls() if base_url.scheme == "https" else None
        options: dict[str, Any] = {
            "ssl_context": tls,
            # No cap: 200 sync runs that wait must not keep a cancel from being sent.
            "max_connections": None,
            "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
            "keepalive_expiry": KEEP_ALIVE_SECONDS,
            "network_backend": _LimitedBackend(),
        }
        proxy = _proxy_for(base_url)
        self.proxy = None if proxy is None else str(proxy.copy_with(userinfo=b"")).rstrip("/")
        self._pool: httpcore.ConnectionPool = (
            httpcore.ConnectionPool(**options)
            if proxy is None
            else httpcore.HTTPProxy(
                proxy_url=str(proxy.copy_with(userinfo=b"")),
                proxy_auth=_credentials(proxy) if proxy.userinfo else None,
                **options,
            )
        )
        # A runner that `connect` has dropped closes its connections when the last call has ended.
        weakref.finalize(self, self._pool.close)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its answer, whose body is read later.

        Raises:
            Exception: One of `CALL_FAILURES`.
        """
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_BoundedBody(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def _proxy_for(base_url: httpx.URL) -> httpx.URL | None:
    host = base_url.host
    # With its port, which an entry of NO_PROXY may have.
    if _is_this_machine(host) or urllib.request.proxy_bypass(base_url.netloc.decode("ascii")):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    if not proxy:
        return None
    variable = f"{base_url.scheme.upper()}_PROXY or ALL_PROXY"
    try:
        url = httpx.URL(proxy if "://" in proxy else f"http://{proxy}")
    except (httpx.InvalidURL, ValueError):
        raise InvalidInput(f"{variable} of the environment cannot be read as a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(
            f"{variable} of the environment is no http or https proxy, the only ones that can be "
            f"used; NO_PROXY={host} goes around it"
        )
    return url


def _credentials(url: httpx.URL) -> tuple[bytes, bytes]:
    return url.username.encode(), url.password.encode()


def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise InvalidInput(
            "the certificates that SSL_CERT_FILE or SSL_CERT_DIR of the environment names cannot "
            f"be read: {error}"
        ) from None


def _is_this_machine(host: str) -> bool:
    if host in ("localhost", CONTAINER_HOST) or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Connecting to 0.0.0.0, which servers print as where they listen, reaches this machine.
    return address.is_loopback or address.is_unspecified
