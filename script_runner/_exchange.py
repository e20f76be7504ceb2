"""One call over HTTP: what it may take, what was asked, what came, and httpx's errors for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpcore
import httpx

from script_runner._settings import MAX_TARGET_BYTES, Settings


class ResponseTooLarge(httpx.DecodingError):
    """A response of more than `Settings.max_response_bytes`."""


class NotHttp(httpx.RemoteProtocolError):
    """What came is not an HTTP response."""


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
        """Note what is asked, and go along with the request.

        Raises:
            httpx.InvalidURL: If no server would take it.
        """
        request.extensions["exchange"] = self
        self.request = request
        if len(request.url.raw_path) > MAX_TARGET_BYTES:
            raise httpx.InvalidURL(f"the path is longer than {MAX_TARGET_BYTES} bytes")

    def came(self, head: httpcore.Response) -> None:
        """Note the head of the response."""
        self.status, self.headers = head.status, httpx.Headers(head.headers)

    def response(self, raw: bytes) -> httpx.Response:
        """The response, whose body has come whole.

        Raises:
            httpx.DecodingError: If it is not packed as it says, or too large.
        """
        response = _BoundedResponse(self, raw)
        self.body = response.content
        return response

    def check_size(self, size: int) -> None:
        """Raise ResponseTooLarge if that many bytes are too many."""
        if size > self.max_bytes:
            raise ResponseTooLarge(f"larger than {self.max_bytes} bytes")

    @contextlib.contextmanager
    def httpx_errors(self) -> Iterator[None]:
        """Raise the exceptions of httpx for those of httpcore."""
        try:
            yield
        except _CORE_ERRORS as error:
            # The classes of the two libraries have the same names.
            kind = getattr(httpx, type(error).__name__)
            if kind is httpx.RemoteProtocolError and self.status is None:
                # Made of an error of the parser; for a connection that was closed, of a text.
                kind = NotHttp if isinstance(error.args[0], Exception) else kind
            raise kind(str(error), request=self.request) from error


class _BoundedResponse(httpx.Response):
    """A response that is unpacked only up to a bound, if a server packs it although not asked."""

    def __init__(self, exchange: Exchange, raw: bytes) -> None:
        self._exchange = exchange
        status = exchange.status or 0
        super().__init__(status, headers=exchange.headers, content=raw, request=exchange.request)

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        size = 0
        for part in super().iter_bytes(chunk_size):
            size += len(part)
            self._exchange.check_size(size)
            yield part


_CORE_ERRORS = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
