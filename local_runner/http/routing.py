"""Which handler a request goes to: by its method and its path as it was sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

ABSOLUTE = re.compile(r"https?://(?P<authority>[^/]*)(?P<path>/.*)?", re.IGNORECASE | re.DOTALL)
"""A target as proxies get it, and as a server must take it, too (RFC 9112, 3.2.2)."""


class RawPath:
    """ASGI middleware that has requests routed by their path as it was sent.

    An escaped slash is then a part of a job id, not of a route.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the path that it is to route."""
        if scope["type"] == "http":
            scope = {**scope, "path": _path_of(scope)}
        await self._app(scope, receive, send)


def _path_of(scope: Scope) -> str:
    target: str = scope["raw_path"].decode("latin-1")
    absolute = ABSOLUTE.fullmatch(target)
    # The host that the guard checks is that of the header; another one is not served.
    if absolute and absolute["authority"].lower() == Headers(scope=scope).get("host", "").lower():
        return absolute["path"] or "/"
    return target


def route(method: str, path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route of one method; Starlette adds HEAD to GET, which the wire does not have."""
    made = Route(path, handler, methods=[method])
    made.methods = {method}
    return made
