"""The HTTP client: an `httpx.Client` with warm connections, and one deadline for a whole call.

It raises httpx's exceptions only, and sends a request once, as it is: no redirects, cookies or
hooks, none of which is wanted, and which would take a part of the time of a call.

httpx limits each read, so a response that drips would be waited for without end. Here every timeout
that httpcore is given is a point in time of `time.monotonic()`, which the streams at the bottom
(`script_runner._network`) turn into what is left of the call.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import httpcore
import httpx

from script_runner._address import Address
from script_runner._connections import (
    IdleConnections,
    OneRunner,
    client_options,
    core_request,
    origin_of,
    pool_of,
)
from script_runner._exchange import Exchange
from script_runner._fork import renew_after_fork
from script_runner._network import Backend
from script_runner._settings import Settings


class HttpClient(OneRunner, httpx.Client):
    """An `httpx.Client` of one script-runner. Safe between threads, and after a fork."""

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; nothing is sent.

        Args:
            address: Where the runner is, and the proxy on the way.
            settings: Times and limits.

        Raises:
            InvalidInput: If the certificates that the environment names cannot be read.
        """
        self._settings = settings
        self._connections = Transport(address, settings)
        super().__init__(transport=self._connections, **client_options(address))

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._connections.break_off()

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request and read its response, by the deadline of `exchange`."""
        self.exchange.begin(request)
        return self._connections.handle_request(request)


class Transport(httpx.BaseTransport):
    """Sends each request once, on an idle connection or a new one, by its `Exchange`'s deadline.

    Connections in use are not limited. Idle ones are closed after `Settings.keep_alive_seconds`,
    by a thread that lives as long as there are any. A process forked off begins without any.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        """Prepare it; see `HttpClient`."""
        self._backend = Backend()
        self._pool = pool_of(
            httpcore.ConnectionPool, httpcore.HTTPProxy, address, settings, self._backend
        )
        self._origin = origin_of(address)
        self._idle: IdleConnections[httpcore.ConnectionInterface] = IdleConnections(settings)
        renew_after_fork(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read all of its response.

        Raises:
            httpx.TransportError: If no whole response came in time.
            httpx.DecodingError: If it is not packed as it says, or too large.
        """
        exchange: Exchange = request.extensions.pop("exchange")
        with exchange.httpx_errors():
            connection, stale = self._idle.take()
            for each in stale:
                each.close()
            if connection is None:
                connection = self._pool.create_connection(self._origin)
            try:
                head = connection.handle_request(core_request(request, self._origin, exchange))
                exchange.came(head)
                parts, size = [], 0
                try:
                    for part in head.iter_stream():
                        parts.append(part)
                        size += len(part)
                        exchange.check_size(size)
                finally:
                    head.close()
            finally:
                self._give_back(connection)
        return exchange.response(b"".join(parts))

    def _give_back(self, connection: httpcore.ConnectionInterface) -> None:
        if not self._idle.keep(connection, self._begin_to_sweep):
            connection.close()

    def _begin_to_sweep(self) -> None:
        threading.Thread(target=self._sweep, daemon=True).start()

    def _sweep(self) -> None:
        are_left = True
        while are_left:
            time.sleep(self._idle.sweep_seconds)
            expired, are_left = self._idle.expired()
            for connection in expired:
                connection.close()

    def renew(self) -> None:
        """Let go of all that the parent of this process shares, without a word to the server."""
        self._backend.close_streams()
        self._idle.renew()

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._backend.break_off()

    def close(self) -> None:
        """Close the connections; one in use closes at the end of its call."""
        for connection in self._idle.close():
            connection.close()
