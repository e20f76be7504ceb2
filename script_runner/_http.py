"""The HTTP clients: an `httpx.Client` and an `httpx.AsyncClient` over transports of our own.

They raise httpx's exceptions only, and send a request once, as it is: no redirects, cookies or
hooks, none of which is wanted, and which would take a part of the time of a call.
"""

from __future__ import annotations

import copy
from typing import Any, Self

import httpx

from script_runner._address import Address
from script_runner._exchange import Exchange
from script_runner._settings import Settings
from script_runner._transport import AsyncTransport, Transport


class HttpClient(httpx.Client):
    """An `httpx.Client` of one script-runner. Safe between threads, and after a fork."""

    exchange: Exchange

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
        super().__init__(transport=self._connections, **_options(address))

    def break_off(self) -> None:
        """End every call that is under way, with an error."""
        self._connections.break_off()

    def for_one_call(self, seconds: float) -> Self:
        """A copy that shares the connections, for one request that may take so long."""
        one = copy.copy(self)
        one.exchange = Exchange.starting_now(seconds, self._settings)
        return one

    def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request and read its response, by the deadline of `exchange`."""
        self.exchange.begin(request)
        return self._connections.handle_request(request)


class AsyncHttpClient(httpx.AsyncClient):
    """The same for asyncio."""

    exchange: Exchange

    def __init__(self, address: Address, settings: Settings) -> None:
        """See `HttpClient`."""
        self._settings = settings
        self._connections = AsyncTransport(address, settings)
        super().__init__(transport=self._connections, **_options(address))

    def for_one_call(self, seconds: float) -> Self:
        """See `HttpClient.for_one_call`."""
        one = copy.copy(self)
        one.exchange = Exchange.starting_now(seconds, self._settings)
        return one

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """See `HttpClient.send`."""
        self.exchange.begin(request)
        return await self._connections.handle_async_request(request)


def _options(address: Address) -> dict[str, Any]:
    # httpx would put the credentials of a URL into messages; here they are only in a header.
    sign_in = {"Authorization": address.authorization} if address.authorization else {}
    return {
        "base_url": address.url,
        "trust_env": False,
        "timeout": None,
        "headers": {
            "Host": address.host_header,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "script-runner-proxy",
            **sign_in,
        },
    }
