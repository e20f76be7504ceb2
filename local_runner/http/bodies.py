"""Bodies of requests: how large they may be, and what is done with one that nobody reads."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from local_runner.http.encoding import JsonResponse
from local_runner.http.errors import error_response

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The largest body of a request; the limit of the wire's reference server."""


class BodyTooLarge(Exception):
    """A body without a length went over the limit while it was read."""


class Bodies:
    """ASGI middleware that bounds a body, and ends the connection after one that nobody read.

    What is left of a body that is refused could only be parsed to find the next request.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; what it receives may raise `BodyTooLarge`."""
        if scope["type"] != "http" or not has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        left, is_read = MAX_BODY_BYTES, False

        async def receive_bounded() -> Message:
            nonlocal left, is_read
            message = await receive()
            left -= len(message.get("body", b""))
            is_read = not message.get("more_body", False)
            if left < 0:
                raise BodyTooLarge
            return message

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and not is_read:
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive_bounded, send_last)


def has_body(headers: Headers) -> bool:
    """Whether a request has a body, by its headers."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def body_too_large() -> JsonResponse:
    """The response to a body that is too large."""
    return error_response(413, "BODY_TOO_LARGE", f"body too large: max {MAX_BODY_BYTES} bytes")


async def refuse_large_body(*_: object) -> JsonResponse:
    """The response to `BodyTooLarge`."""
    return body_too_large()
