"""The HTTP transport of `connect`: what is sent to whom, through which proxy, over what."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import ssl
import threading
import urllib.parse
import urllib.request
import weakref
from collections.abc import Mapping
from typing import Any

import httpcore
import httpx

from script_runner.address import basic_auth, secrets_of, why_not_found
from script_runner.errors import InvalidInput
from script_runner.limits import BoundedResponse, LimitedBackend

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

MAX_TARGET_BYTES = 64 * 1024
"""The longest path and query; no server takes a longer one."""

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


@dataclasses.dataclass
class Exchange:
    """What a thread asked last, and what came back.

    Attributes:
        method: The HTTP method.
        target: Path and query.
        response: The answer as far as it came; None when none did.
    """

    method: str
    target: str
    response: httpx.Response | None = None


class Transport:
    """Sends requests below one base URL, over as many connections as there are callers.

    The generated operations get it for the `httpx.Client` that they would make themselves. They
    call its `request` alone; all else that a client does there (merging URLs, headers and cookies,
    redirects) would take longer than the request, and is not wanted.

    A proxy of the environment (`HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`) is used, except for this
    machine and the one that hosts the container.

    Attributes:
        proxy: The URL of that proxy, without credentials; None where none is used.
        secrets: What must not be shown of the credentials that are sent.
    """

    def __init__(self, base_url: httpx.URL) -> None:
        """Make the pool of connections; none is opened yet.

        Args:
            base_url: An http or https URL, with credentials or without.

        Raises:
            InvalidInput: If the certificates or the proxy of the environment cannot be used.
        """
        self._base = base_url
        self._prefix = base_url.raw_path.decode("ascii").rstrip("/")
        self._headers = [
            (b"Host", base_url.netloc),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"script-runner-proxy"),
        ]
        if base_url.userinfo:
            self._headers.append((b"Authorization", basic_auth(base_url).encode("ascii")))
        self._local = threading.local()
        proxy = _proxy_for(base_url)
        self.proxy = None if proxy is None else str(proxy.copy_with(userinfo=b"")).rstrip("/")
        self.secrets = secrets_of(base_url) + (() if proxy is None else secrets_of(proxy))
        self._pool = _pool(base_url, proxy)
        # A runner that `connect` has dropped closes its connections when the last call has ended.
        weakref.finalize(self, self._pool.close)

    @property
    def exchange(self) -> Exchange | None:
        """The last exchange of this thread, unless it was forgotten."""
        exchange: Exchange | None = getattr(self._local, "exchange", None)
        return exchange

    def forget_exchange(self) -> None:
        """Let go of the last exchange: an answer may be large, and a thread may live long."""
        self._local.exchange = None

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request and read its answer.

        Args:
            method: The HTTP method.
            url: A path below the base URL.
            params: The query.
            json: The body.
            headers: Headers beside those of every request.

        Raises:
            ValueError: If it cannot be sent; nothing was.
            Exception: One of `CALL_FAILURES`, `AnswerTooLarge`, or httpx.DecodingError.
        """
        exchange = Exchange(method.upper(), f"{self._prefix}{url}")
        self._local.exchange = exchange
        if params:
            exchange.target += f"?{urllib.parse.urlencode(params)}"
        if len(exchange.target) > MAX_TARGET_BYTES:
            raise ValueError(f"the path is longer than {MAX_TARGET_BYTES} bytes")
        all_headers = [*self._headers]
        all_headers += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        content = None if json is None else _written(json)
        if content is not None or exchange.method == "POST":
            all_headers.append((b"Content-Length", str(len(content or b"")).encode()))
        return self._send(exchange, all_headers, content)

    def _send(
        self, exchange: Exchange, headers: list[tuple[bytes, bytes]], content: bytes | None
    ) -> httpx.Response:
        url = httpcore.URL(
            scheme=self._base.raw_scheme,
            host=self._base.raw_host,
            port=self._base.port,
            target=exchange.target.encode("ascii"),
        )
        answer = self._pool.handle_request(
            httpcore.Request(
                exchange.method,
                url,
                headers=headers,
                content=content,
                extensions={"timeout": {"connect": CONNECT_SECONDS}},
            )
        )
        exchange.response = response = BoundedResponse(answer)
        try:
            response.read()
        finally:
            response.close()
        return response


def _written(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _pool(base_url: httpx.URL, proxy: httpx.URL | None) -> httpcore.ConnectionPool:
    options: dict[str, Any] = {
        # Reading the certificates takes 17 ms, so only where they are of use.
        "ssl_context": _tls() if base_url.scheme == "https" else None,
        # No cap: 200 sync runs that wait must not keep a cancel from being sent.
        "max_connections": None,
        "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": KEEP_ALIVE_SECONDS,
        "network_backend": LimitedBackend(),
    }
    if proxy is None:
        return httpcore.ConnectionPool(**options)
    return httpcore.HTTPProxy(
        proxy_url=str(proxy.copy_with(userinfo=b"")),
        proxy_auth=_credentials(proxy) if proxy.userinfo else None,
        **options,
    )


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
        why = why_not_found(url)
    except (httpx.InvalidURL, ValueError):
        why = "it cannot be read as a URL"
    if why is not None:
        raise InvalidInput(
            f"{variable} of the environment cannot be used, {why}: correct it, or go around it "
            f"with NO_PROXY={host}"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(
            f"{variable} of the environment names no http or https proxy, the only ones that can "
            f"be used; NO_PROXY={host} goes around it"
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
