"""What uvicorn holds of a connection: a transport that is closed politely, and its flow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.flow_control import FlowControl


class Lingering(Protocol):
    """A protocol that decides how its transport is closed.

    Attributes:
        conn: Where its request and its response stand.
    """

    conn: h11.Connection

    @property
    def is_lingering(self) -> bool:
        """Whether all has been sent, and the caller is let send what it will."""

    def close(self, transport: asyncio.Transport) -> None:
        """Close a transport now or later."""


class LingeringTransport:
    """A transport whose `close` is that of its protocol, and that sends heads with their bodies.

    Attributes:
        close_now: Closes the transport itself.
    """

    _head = b""
    """The head of a response whose body has not begun."""
    _is_in_body = False

    def __init__(self, transport: asyncio.Transport, protocol: Lingering) -> None:
        """Wrap a transport."""
        self._transport = transport
        self._protocol = protocol
        self.close_now = transport.close

    def __getattr__(self, name: str) -> Any:
        """Whatever else a transport does."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send data; the head of a response waits for what follows, so that it wakes nobody."""
        before, self._is_in_body = self._is_in_body, self._protocol.conn.our_state is h11.SEND_BODY
        if self._is_in_body and not before:
            self._head = data
            return
        head, self._head = self._head, b""
        self._transport.write(head + data if head else data)

    def close(self) -> None:
        """Have the protocol close it."""
        self._protocol.close(self._transport)

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._protocol.is_lingering or self._transport.is_closing()


class Flow(FlowControl):
    """Reading goes on when somebody wants more, and as far as there is room for what came."""

    def __init__(self, transport: LingeringTransport, want_more: Callable[[], None]) -> None:
        """Wrap a transport; `want_more` is called in place of `resume_reading`."""
        super().__init__(transport)  # type: ignore[arg-type]
        self.resume_reading = want_more  # type: ignore[method-assign]

    def unpause(self) -> None:
        """Read from the socket again."""
        FlowControl.resume_reading(self)
