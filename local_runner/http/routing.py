"""Which handler a request goes to: by its method and its path as it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


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
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._app(scope, receive, send)


def route(method: str, path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route of one method; Starlette adds HEAD to GET, which the wire does not have."""
    made = Route(path, handler, methods=[method])
    made.methods = {method}
    return made
