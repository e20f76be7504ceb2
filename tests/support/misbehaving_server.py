"""A server on this machine that responds as a test tells it to, byte by byte, or not at all."""

from __future__ import annotations

import contextlib
import enum
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        method: Such as `GET`.
        target: The path and the query; the whole URL where the server is used as a proxy.
        headers: By their names in lower case.
        body: All of it.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Action(enum.Enum):
    """What a server can do to a connection beside sending bytes."""

    CLOSE = "close it as one does at the end"
    RESET = "break it off, so that the client sees a reset"


Step = bytes | Action
Behaviour = Callable[[Request], Iterable[Step]]
"""What to do with a request: bytes are sent as they are; the connection is kept unless closed."""

STOP_SECONDS = 20.0


def http_response(
    status: int, body: bytes = b"", *headers: str, length: int | None = None
) -> bytes:
    """An HTTP response.

    Args:
        status: The status code.
        body: The body.
        headers: Lines of the head, such as `Content-Type: text/html`.
        length: What `Content-Length` says, if it is not the length of the body.
    """
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, *headers, "", ""]).encode("latin-1") + body


def json_response(status: int, value: object) -> bytes:
    """An HTTP response with a JSON body."""
    return http_response(status, json.dumps(value).encode(), "Content-Type: application/json")


class MisbehavingServer:
    """A server of which each connection has a thread; stopped on leaving its `with` block.

    Attributes:
        url: Where it listens.
        port: The same, the port alone.
        requests: Those that have come, whole, in the order in which they came.
        connections: How many were accepted.
        stopped: Set when the server stops; what a response that never comes waits for.
    """

    def __init__(self, respond: Behaviour, *, port: int = 0, host: str = "127.0.0.1") -> None:
        """Listen.

        Args:
            respond: What to do with a request; called in the thread of its connection.
            port: Where; 0 takes a free port.
            host: The address; a loopback one.
        """
        self._respond = respond
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)

    def __enter__(self) -> MisbehavingServer:
        """Give the server; it listens already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection and wait for the threads."""
        with self._lock:
            self.stopped.set()
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        # Wakes the thread that accepts.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2], STOP_SECONDS).close()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        self._listener.close()

    @property
    def open_connections(self) -> int:
        """How many of the connections are open."""
        _accepting, *serving = self._threads
        return sum(thread.is_alive() for thread in serving)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self.stopped.is_set():
                    connection.close()
                    return
                self.connections += 1
                self._sockets.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = bytearray()
            while request := _read_request(connection, received):
                self.requests.append(request)
                for step in self._respond(request):
                    if isinstance(step, Action):
                        _end(connection, step)
                        return
                    connection.sendall(step)


def _end(connection: socket.socket, how: Action) -> None:
    if how is Action.RESET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _read_request(connection: socket.socket, received: bytearray) -> Request | None:
    """The next request of a connection, None when it is closed; what came after it is kept."""
    while b"\r\n\r\n" not in received:
        if not (part := connection.recv(65536)):
            return None
        received += part
    head, _, _ = bytes(received).partition(b"\r\n\r\n")
    del received[: len(head) + 4]
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", 0))
    while len(received) < length:
        if not (part := connection.recv(65536)):
            return None
        received += part
    body = bytes(received[:length])
    del received[:length]
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body)
