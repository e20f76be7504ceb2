"""Network streams that keep to a deadline: httpcore hands every timeout down to them.

Here a timeout is a point in time of `time.monotonic()`; see `script_runner._http`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

import httpcore

WRITE_BYTES = 64 * 1024
"""The most bytes written between two looks at the clock."""


def _left(deadline: float | None, error: type[httpcore.TimeoutException]) -> float:
    """The seconds that are left.

    Raises:
        httpcore.TimeoutException: If none are.
    """
    assert deadline is not None
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time for the call is over")
    return left


def _certified(host: str | None) -> str | None:
    """A host as its certificate names it: an IPv6 address has brackets on the way to a proxy."""
    return host and host.strip("[]")


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, backend: Backend) -> None:
        self._stream = stream
        self._backend = backend
        backend.streams.add(self)
        if backend.is_broken_off:
            # Before it was in the set.
            self.break_off()

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
        name = _certified(server_hostname)
        return _Stream(self._stream.start_tls(ssl_context, name, left), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def break_off(self) -> None:
        # To close a socket would not wake a thread that waits for it.
        with contextlib.suppress(OSError):
            self.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class Backend(httpcore.NetworkBackend):
    """Opens connections: the name is looked up and all addresses are tried by one deadline."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()
        self.streams: weakref.WeakSet[_Stream] = weakref.WeakSet()
        self.is_broken_off = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection to the first of the addresses that takes it."""
        addresses = _look_up(host, port, timeout)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for tried, address in enumerate(addresses):
            # An address that does not respond leaves some of the time to the next one.
            share = _left(timeout, httpcore.ConnectTimeout) / (len(addresses) - tried)
            try:
                stream = self._backend.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self)
        raise failure

    def break_off(self) -> None:
        """End what any thread reads or writes, with an error in that thread."""
        self.is_broken_off = True
        # A thread that opens a connection meanwhile changes the set.
        while True:
            with contextlib.suppress(RuntimeError):
                streams = list(self.streams)
                break
        for stream in streams:
            stream.break_off()

    def close_streams(self) -> None:
        """Close every connection of this process, those in use by other threads too."""
        for stream in list(self.streams):
            stream.close()


def _look_up(host: str, port: int, deadline: float | None) -> list[str]:
    """The addresses of a host; looking up a name has no timeout of its own, so a thread waits."""
    # A zone stands behind %25 in a URL and behind % everywhere else.
    host = host.replace("%25", "%")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return [host]
    found: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(_numeric(address) for *_, address in infos)))
        except OSError as error:
            found.put(error)

    try:
        threading.Thread(target=look_up, daemon=True).start()
    except RuntimeError as error:
        raise httpcore.ConnectError(f"{host} was not looked up: {error}") from None
    try:
        result = found.get(timeout=_left(deadline, httpcore.ConnectTimeout))
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"the name {host} was not found in time") from None
    if isinstance(result, OSError):
        raise httpcore.ConnectError(str(result)) from result
    return result


def _numeric(address: tuple[Any, ...]) -> str:
    """The host of a socket address, an IPv6 one with its zone."""
    host, _port, *rest = address
    return f"{host}%{rest[1]}" if rest and rest[1] else str(host)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        name = _certified(server_hostname)
        return _AsyncStream(await self._stream.start_tls(ssl_context, name, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """The same for asyncio."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection; see `Backend.connect_tcp`."""
        left = _left(timeout, httpcore.ConnectTimeout)
        # It tries all addresses at once.
        try:
            stream = await self._backend.connect_tcp(
                host.replace("%25", "%"), port, left, local_address, socket_options
            )
        except RuntimeError as error:
            # A thread looks the name up.
            raise httpcore.ConnectError(f"{host} was not looked up: {error}") from None
        return _AsyncStream(stream)
