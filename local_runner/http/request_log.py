"""One line of the log for each request."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_runner import log


class RequestLog:
    """ASGI middleware that writes the line: no query, no header, nothing that is secret."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, then log how it responded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        status = 0
        logged: dict[str, object] = {}
        scope.setdefault("state", {})["logged"] = logged

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            log.event(
                "request",
                method=scope["method"],
                path=logged_path(scope),
                status=status,
                duration_ms=round((time.monotonic() - begun) * 1000),
                client=(scope.get("client") or ("unknown",))[0],
                **logged,
            )


def add_to_line(request: Request, **fields: object) -> None:
    """Add to the line of a request what came of it."""
    request.state.logged.update(fields)


def logged_path(scope: Scope) -> str:
    """The path as it was sent: percent-encoded, so that it cannot forge a line of the log."""
    return ascii(scope["raw_path"].decode("latin-1"))[1:-1]
