"""HTTP/1.1 with bounds for a caller that is slow: to send, to read, or by the hundred."""

from __future__ import annotations

import asyncio
import resource
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

BODY_SECONDS = 30.0
"""From the end of the headers to the end of the body: 2 MiB at 70 KB/s."""

RESPONSE_SECONDS = 60.0
"""How long a response may wait in whole for a caller that does not read it."""

MAX_HEAD_BYTES = 64 * 1024
"""The largest request line with its headers."""

MAX_HALF_SENT = 1024
"""The most connections that owe the rest of a request; then the one that owes longest goes."""

HEAD_END = b"\r\n\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

HEAD, BODY = "headers", "body"


class BoundedProtocol(H11Protocol):
    """One connection. While a handler works, for instance on a sync run, no limit applies.

    An idle connection, between a response and the next request, has uvicorn's own limit.
    """

    _half_sent: ClassVar[dict[BoundedProtocol, None]] = {}
    """The connections that owe the rest of a request, the one that owes longest first."""

    _owed: tuple[str, object] | None = None
    """What the caller has to send now, and after which request."""
    _head_bytes = 0
    _send_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()
        if len(self._half_sent) > _most_half_sent():
            next(iter(self._half_sent))._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._wait_for(None)
        self._stop_read_timer()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it makes the head too large."""
        if self._owed and self._owed[0] == HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and self._head_is_too_large(data):
                self.send_400_response(f"Request head too large: max {MAX_HEAD_BYTES} bytes.")
                return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The caller does not read: wait for it, not for ever."""
        super().pause_writing()
        self._limit_reading()

    def resume_writing(self) -> None:
        """The caller has read."""
        super().resume_writing()
        self._stop_read_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._limit_reading()

    def _head_is_too_large(self, data: bytes) -> bool:
        received = self.conn.trailing_data[0] + data
        return HEAD_END not in received[:MAX_HEAD_BYTES]

    def _watch(self) -> None:
        """See what the caller owes now."""
        state = self.conn.their_state
        if self.transport.is_closing():
            self._wait_for(None)
        elif state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._wait_for((HEAD, self.cycle))
        elif state is h11.SEND_BODY:
            self._wait_for((BODY, self.cycle))
        else:
            self._wait_for(None)

    def _wait_for(self, owed: tuple[str, object] | None) -> None:
        """Start the time limit of what is owed, unless it runs already."""
        if owed == self._owed:
            return
        self._owed, self._head_bytes = owed, 0
        if self._send_timer is not None:
            self._send_timer.cancel()
        self._send_timer = None
        self._half_sent.pop(self, None)
        if owed is not None:
            seconds = HEAD_SECONDS if owed[0] == HEAD else BODY_SECONDS
            self._send_timer = self.loop.call_later(seconds, self._give_up)
            self._half_sent[self] = None

    def _give_up(self) -> None:
        """Close the connection; a caller that has begun a request is told why."""
        has_begun = self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]
        if has_begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(TIMED_OUT)
        self._wait_for(None)
        self.transport.close()
        self._limit_reading()

    def _limit_reading(self) -> None:
        """Do not keep for ever what the caller does not read."""
        if self._read_timer is None and self.transport.get_write_buffer_size():
            self._read_timer = self.loop.call_later(RESPONSE_SECONDS, self.transport.abort)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None


def _most_half_sent() -> int:
    """Half of the files that may be open are for requests that are complete, and for scripts."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_HALF_SENT if files == resource.RLIM_INFINITY else min(MAX_HALF_SENT, files // 2)
