"""A time limit for the whole of a call, and a bound on its answer.

httpx limits the wait for each part of an answer, not for the whole: an answer that drips would be
waited for without end. httpcore, on which httpx stands, lets the limit be set where bytes are read.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""The largest answer: a log page of 1 MiB is six times that when each byte is escaped in JSON."""

LONGEST_LIMIT_SECONDS = 2_000_000
"""The longest time limit of a call, 23 days; a socket takes none of more than 2**31 ms."""

WRITE_BYTES = 64 * 1024
"""The most bytes written between two looks at the clock."""


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


class LimitedBackend(httpcore.NetworkBackend):
    """Opens connections that keep to `time_limit`."""

    def __init__(self) -> None:
        """Wrap the backend of httpcore."""
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection within what is left of the limit."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return _LimitedStream(
            self._backend.connect_tcp(host, port, left, local_address, socket_options)
        )


class _BoundedBody(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return _bounded(self._answer.iter_stream())

    def close(self) -> None:
        if _has_more(self._answer):
            # What is closed is not used for another call.
            self._answer.extensions["network_stream"].close()
        self._answer.close()


def _has_more(answer: httpcore.Response) -> bool:
    """Whether more has come than the answer, which would be taken for the next answer."""
    # httpcore does not look, and does not show what it has read.
    connection = getattr(getattr(answer.stream, "_stream", None), "_connection", None)
    parser = getattr(connection, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


class BoundedResponse(httpx.Response):
    """An answer whose body is read up to `MAX_ANSWER_BYTES`."""

    def __init__(self, answer: httpcore.Response) -> None:
        """Take over an answer of which the head has come."""
        super().__init__(answer.status, headers=answer.headers, stream=_BoundedBody(answer))

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body in parts, bounded."""
        # Unpacked, where a server packs its answers although that was not asked for.
        return _bounded(super().iter_bytes(chunk_size))


def _bounded(parts: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise AnswerTooLarge
        yield part
