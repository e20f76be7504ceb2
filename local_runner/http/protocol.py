"""HTTP/1.1 with bounds for a caller that is slow, sends in crumbs, reads nothing, or goes away."""

from __future__ import annotations

import asyncio
import re
import resource
from typing import ClassVar

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from local_runner.http.transport import Flow, LingeringTransport

HEAD_SECONDS = 10.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""

BODY_SECONDS = 30.0
"""From the end of the headers to the end of the body: 2 MiB at 70 KB/s."""

RESPONSE_SECONDS = 60.0
"""How long a response may wait in whole for a caller that does not read it."""

MAX_HEAD_BYTES = 64 * 1024
"""The largest request line with its headers."""

MAX_HEADERS = 100
"""The most lines of headers, as in Apache: to parse the 16,000 that 64 KiB can hold takes 25 ms."""

MAX_CHUNK_BYTES = 16 * 1024
"""The most that the framing of a body in chunks may take: that of 2 MiB in chunks of 1 KiB."""

MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""The most that is read, and thrown away, of a request that has its response already."""

MAX_HALF_SENT = 1024
"""The most connections that owe the rest of a request; then the one that owes longest goes."""

SIZED_PIECE, CHUNKED_PIECE = 64 * 1024, 4 * 1024
"""How much of a body is parsed at once: at most 700 chunks of one byte, in about 10 ms."""

HEAD_END = re.compile(rb"\n\r?\n")
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

HEAD, BODY, REST = "headers", "body", "what nobody wants"


class BoundedProtocol(H11Protocol):
    """One connection. While a handler works, for instance on a sync run, no limit applies.

    What came is parsed as far as somebody wants it: a head at once, a body when the handler reads
    it, the next request after the response to this one. What is left of a request that has its
    response is thrown away unparsed, and the connection ends.

    An idle connection, between a response and the next request, has uvicorn's own limit.
    """

    _half_sent: ClassVar[dict[BoundedProtocol, None]] = {}
    """The connections that owe the rest of a request, the one that owes longest first."""

    _unread: ClassVar[dict[BoundedProtocol, float]] = {}
    """Since when each caller that does not read its response has read nothing."""

    _owed: tuple[str, object] | None = None
    """What the caller has to send now, and after which request."""
    _send_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _scanned = 0
    """How much of what came holds no end of a head."""
    _reader: RequestResponseCycle | None = None
    """The request whose handler waits for more of its body."""
    _body_left = 0
    """How much of a body is still to come, unless that comes in chunks."""
    _is_chunked = False
    _chunk_bytes = 0
    """What the framing of a body in chunks has taken so far."""
    _discarded = 0
    transport: LingeringTransport  # type: ignore[assignment]
    flow: Flow

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._unparsed = bytearray()
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]
        self.flow = Flow(self.transport, self.want_more)
        self._watch()
        if len(self._half_sent) > _most_half_sent():
            next(iter(self._half_sent))._give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        # uvicorn does so only for a caller that says goodbye; until then the timer keeps it all.
        self._unset_keepalive_if_required()
        self._wait_for(None)
        self._stop_read_timer()
        self._unread.pop(self, None)
        self._unparsed.clear()

    def data_received(self, data: bytes) -> None:
        """Take what came; what nobody wants yet waits, what nobody wants at all is dropped."""
        if self.is_lingering:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.transport.abort()
            return
        self._unparsed += data
        if len(self._unparsed) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self._parse()

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile, unless there is more of a body that nobody read."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            self.transport.close()
        if not self.flow.write_paused:
            self._stop_read_timer()
        self._watch()

    def pause_writing(self) -> None:
        """The caller does not read: wait for it, not for ever."""
        super().pause_writing()
        self._unread[self] = self.loop.time()
        self._limit_reading()

    def resume_writing(self) -> None:
        """The caller has read; the time for the whole of a response goes on."""
        super().resume_writing()
        self._unread.pop(self, None)
        if self.cycle is None or self.cycle.response_complete:
            self._stop_read_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        super().timeout_keep_alive_handler()
        self._limit_reading()

    def shutdown(self) -> None:
        """Close an idle connection, or have it closed after its response."""
        if self.is_lingering:
            self.transport.abort()
        else:
            super().shutdown()

    @classmethod
    def drop_slowest(cls, seconds: float) -> None:
        """Cut off the caller that has read nothing for longest, if that is for so many seconds."""
        for protocol, since in cls._unread.items():
            if protocol.loop.time() - since >= seconds:
                protocol.transport.abort()
            return

    @property
    def is_lingering(self) -> bool:
        """Whether all has been sent, and the caller is let send what it will."""
        return self._owed is not None and self._owed[0] == REST

    def want_more(self) -> None:
        """Parse more, when others have had their turn: a handler, or a new request, may go on."""
        self._reader = self.cycle
        is_there = 0 < self._body_left <= min(len(self._unparsed), CHUNKED_PIECE)
        if is_there and not self.cycle.response_complete:
            self._parse()  # so little that nobody waits for it
        elif self._unparsed or self.flow.read_paused:
            self.loop.call_soon(self._parse)

    def close(self, transport: asyncio.Transport) -> None:
        """Close a transport, so that a caller that is still sending gets its response.

        To close it at once would have the system reset the connection, response and all.
        """
        if self.conn.their_state not in (h11.SEND_BODY, h11.ERROR) and not self._unparsed:
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:
            # The caller has reset the connection meanwhile.
            transport.abort()
        self._unparsed.clear()
        self._wait_for((REST, None))
        self.flow.unpause()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _parse(self) -> None:
        """Parse what is wanted of what came."""
        if not self.transport.is_closing():
            if self._unparsed and self.conn.their_state is h11.IDLE:
                self._parse_head()
            elif self._unparsed and self.conn.their_state is h11.SEND_BODY:
                self._parse_body()
            if len(self._unparsed) <= HIGH_WATER_LIMIT:
                self.flow.unpause()
        self._watch()

    def _parse_head(self) -> None:
        """Parse a head that is complete, and not a byte of the body: the head may be refused."""
        self._unset_keepalive_if_required()
        # h11 holds the begin of it if it came together with the last chunk of a body.
        held = self.conn.trailing_data[0]
        head = held + self._unparsed if held else self._unparsed
        end = HEAD_END.search(head, self._scanned)
        size = end.end() if end else len(head)
        self._scanned = max(0, len(head) - 2)
        if size > MAX_HEAD_BYTES:
            self.send_400_response(f"Request head too large: max {MAX_HEAD_BYTES} bytes.")
        elif head.count(b"\n", 0, size) > MAX_HEADERS + 2:  # one before them, one behind
            self.send_400_response(f"Too many headers: max {MAX_HEADERS} lines.")
        elif end or head[0] <= ord(" "):
            self._feed(size - len(held))
            self._scanned = self._chunk_bytes = 0
            headers = dict(self.headers or [])
            self._is_chunked = b"transfer-encoding" in headers
            if self.conn.their_state is h11.SEND_BODY and not self._is_chunked:
                self._body_left = int(headers[b"content-length"])
            if self._unparsed and self.cycle is not None:
                # Who sends already need not be told to.
                self.cycle.waiting_for_100_continue = False

    def _parse_body(self) -> None:
        """Parse a piece of a body that its handler waits for."""
        if self._reader is not self.cycle:
            return
        if self._is_chunked:
            known = len(self.cycle.body)
            parsed = self._feed(CHUNKED_PIECE)
            self._chunk_bytes += parsed - (len(self.cycle.body) - known)
            if self._chunk_bytes > MAX_CHUNK_BYTES and not self.transport.is_closing():
                self.send_400_response("Body framing too large: send larger chunks.")
                return
        else:
            self._body_left -= self._feed(min(SIZED_PIECE, self._body_left))
        if self.cycle.message_event.is_set():
            self._reader = None
        elif self._unparsed:
            self.loop.call_soon(self._parse)

    def _feed(self, size: int) -> int:
        """Have h11 parse so many bytes, or what there is; returns how many."""
        piece = bytes(self._unparsed[:size])
        del self._unparsed[:size]
        self.conn.receive_data(piece)
        self.handle_events()
        return len(piece)

    def _watch(self) -> None:
        """See what the caller owes now."""
        state = self.conn.their_state
        if self.is_lingering:
            return
        if self.transport.is_closing():
            self._wait_for(None)
        elif state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._wait_for((HEAD, self.cycle))
        elif state is h11.SEND_BODY and not self._has_body:
            self._wait_for((BODY, self.cycle))
        else:
            self._wait_for(None)

    @property
    def _has_body(self) -> bool:
        """Whether all of the body has come that the handler has not read yet."""
        return not self._is_chunked and len(self._unparsed) >= self._body_left

    def _wait_for(self, owed: tuple[str, object] | None) -> None:
        """Start the time limit of what is owed, unless it runs already."""
        if owed == self._owed:
            return
        self._owed = owed
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
        if self.is_lingering:
            self.transport.abort()
            return
        has_begun = bool(self._unparsed) or self.conn.their_state is h11.SEND_BODY
        self._unparsed.clear()
        if has_begun and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(TIMED_OUT)
        self._wait_for(None)
        self.transport.close_now()
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
