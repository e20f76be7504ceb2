"""Who may call at all: host, origin, token, content type and size of every request."""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import re
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from local_runner import names
from local_runner.config import ServerConfig
from local_runner.http.bodies import MAX_BODY_BYTES, body_too_large, has_body
from local_runner.http.encoding import JsonResponse
from local_runner.http.errors import error_response

CONTAINER_HOST = "host.docker.internal"
"""The name by which a container reaches the machine it runs on."""

MAX_HOSTS = 16
"""How many are remembered; each may be as long as the head of a request."""

_HOST_HEADER = re.compile(
    r"(?P<name>\[[0-9a-f:.]+\]|[^:/@\s\x80-\xff]+)(?::\d{1,5})?", re.ASCII | re.IGNORECASE
)

Check = Callable[[Headers], JsonResponse | None]
"""Returns the refusal, None for a request that is let in."""


class Guard:
    """ASGI middleware that refuses whoever was not told to be served.

    A web page that somebody on this machine visits can send requests here. It is stopped by the
    `Host` check (a name that was rebound to this machine), the `Origin` check (any page) and the
    content type (a form, or a script that avoids the browser's own question).
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, token: str | None) -> None:
        """Wrap an application.

        Args:
            app: What is called when nothing is refused.
            config: Whom to serve.
            token: The token every request must carry; None for no token.
        """
        self._app = app
        self._hosts = {CONTAINER_HOST, names.canonical(config.host), *config.allowed_hosts}
        # Requests name the same host again and again; to parse an address takes a while.
        self._serves = functools.lru_cache(MAX_HOSTS)(self._is_served)
        self._origins = set(config.allowed_origins)
        self._token = None if token is None else token.encode()
        self._checks: list[Check] = [
            self._check_host,
            self._check_origin,
            self._check_token,
            self._check_length,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a refusal, or call the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # A preflight carries no credentials and no body; the application responds to it.
        is_preflight = scope["method"] == "OPTIONS" and "origin" in headers
        checks = self._checks[:2] if is_preflight else self._checks
        if scope["method"] == "POST":
            checks = [*checks, _check_content_type]
        for check in checks:
            if refusal := check(headers):
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check_host(self, headers: Headers) -> JsonResponse | None:
        host = headers.get("host", "")
        if self._serves(host):
            return None
        return error_response(
            403,
            "FORBIDDEN_HOST",
            f"host {_quoted(host)} is not served here: call it localhost, "
            "or add the name to server.allowedHosts",
        )

    def _is_served(self, host: str) -> bool:
        match = _HOST_HEADER.fullmatch(host)
        name = names.canonical(match["name"]) if match else ""
        return bool(name) and (names.is_loopback(name) or name in self._hosts)

    def _check_origin(self, headers: Headers) -> JsonResponse | None:
        origin = headers.get("origin", "").lower()
        # The host is one that is served: its own pages are those of this runner.
        if origin in self._origins or origin == f"http://{headers['host'].lower()}":
            return None
        if "origin" not in headers:
            return None
        return error_response(
            403,
            "FORBIDDEN_ORIGIN",
            f"origin {_quoted(origin)} may not call this runner: "
            "add it to server.allowedOrigins if you trust its pages",
        )

    def _check_token(self, headers: Headers) -> JsonResponse | None:
        if self._token is None or hmac.compare_digest(self._token, _token_of(headers)):
            return None
        got = "authorization" in headers
        said = "the token is not that of this runner" if got else "this runner wants its token"
        refusal = error_response(
            401,
            "UNAUTHORIZED",
            f"{said}: send it as the Basic password (http://any:TOKEN@host) or as a Bearer token",
        )
        # In a header of its own: with another challenge beside it, browsers ask nobody.
        refusal.headers.append("www-authenticate", 'Basic realm="script-runner"')
        refusal.headers.append("www-authenticate", "Bearer")
        return refusal

    @staticmethod
    def _check_length(headers: Headers) -> JsonResponse | None:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) <= MAX_BODY_BYTES:
            return None
        return body_too_large()


def _check_content_type(headers: Headers) -> JsonResponse | None:
    content_type = headers.get("content-type")
    if content_type is None:
        if not has_body(headers):
            return None
    elif content_type.partition(";")[0].strip(" \t").lower() == "application/json":
        return None
    return error_response(
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "the body has no content type: send application/json"
        if content_type is None
        else f"content type {_quoted(content_type)} is not accepted: send application/json",
    )


def _token_of(headers: Headers) -> bytes:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    # Only what is space in a header: half of a letter of UTF-8 may look like another one.
    credentials = credentials.strip(" \t")
    if scheme.lower() == "bearer":
        return credentials.encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _quoted(value: str) -> str:
    """A header as a message may quote it: printable, not long."""
    return ascii(value[:100])[1:-1]
