"""Connections that break, fall silent or drip: which error each block raises, and how soon."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from script_runner import InvalidResponse, RequestTimedOut, RunnerUnreachable, ScriptRunnerError
from tests.faults.attempts import MAY_RUN, OVERLOADED, STILL_RUNNING, TRY_AGAIN
from tests.faults.places import Fault, Place, at_every_block, at_places, faulty
from tests.support.misbehaving_server import Action, Step

pytestmark = pytest.mark.usefixtures("short_limits", "small_pages")

DRIP_SECONDS = 60.0
"""How long a response that drips would take: many times every limit."""

SLACK_SECONDS = 15.0
"""What a busy machine may add to a limit."""

RESET = re.escape(f"ReadError: [Errno {errno.ECONNRESET}] {os.strerror(errno.ECONNRESET)}")
CLOSED = r"RemoteProtocolError: Server disconnected without sending a response\."
CUT = r"RemoteProtocolError: peer closed connection without sending complete message body \(.*\)"
HEAD_BYTES, BODY_BYTES = 40, 100
"""How much of a response is well inside its head, and inside its body."""


class Broken(NamedTuple):
    """A fault that ends the connection, and the error that it is."""

    fault: Fault
    error: type[ScriptRunnerError]
    said: str


def lost(cause: str) -> str:
    return rf"the connection was lost before a response came \({cause}\)"


def cut(cause: str) -> str:
    return rf"response 20\d was cut off \({cause}\)"


def first(count: int, end: Action) -> Fault:
    """Some bytes of the response, then an end."""
    return lambda whole, _: [whole[:count], end]


BROKEN = {
    "reset after the request": Broken(first(0, Action.RESET), RunnerUnreachable, lost(RESET)),
    "closed after the request": Broken(first(0, Action.CLOSE), RunnerUnreachable, lost(CLOSED)),
    "reset in the head": Broken(first(HEAD_BYTES, Action.RESET), RunnerUnreachable, lost(RESET)),
    "closed in the head": Broken(first(HEAD_BYTES, Action.CLOSE), RunnerUnreachable, lost(CLOSED)),
    "reset in the body": Broken(first(BODY_BYTES, Action.RESET), InvalidResponse, cut(RESET)),
    "closed in the body": Broken(first(-1, Action.CLOSE), InvalidResponse, cut(CUT)),
}


@at_places("broken", BROKEN, "reset after the request", "closed in the body")
def test_a_connection_that_breaks_is_an_error_that_says_where(place: Place, broken: Broken) -> None:
    hint = MAY_RUN if place.is_run else TRY_AGAIN
    with faulty(place, broken.fault) as server:
        tried = place.try_at(server.url)
    tried.failed(broken.error, f"{place.line} at {server.url}", broken.said, hint)
    assert tried.seconds < SLACK_SECONDS


def silent(whole: bytes, stopped: threading.Event) -> Iterator[Step]:
    """Nothing, as long as the server goes on."""
    del whole
    stopped.wait()
    yield Action.CLOSE


def silent_after(count: int) -> Fault:
    """Some bytes, then nothing."""

    def fault(whole: bytes, stopped: threading.Event) -> Iterator[Step]:
        yield whole[:count]
        yield from silent(whole, stopped)

    return fault


def dripping_after(count: int) -> Fault:
    """Some bytes at once, the rest one by one."""

    def fault(whole: bytes, stopped: threading.Event) -> Iterator[Step]:
        yield whole[:count]
        rest = whole[count:]
        for index in range(len(rest)):
            if stopped.wait(DRIP_SECONDS / len(rest)):
                return
            yield rest[index : index + 1]

    return fault


SLOW: dict[str, Fault] = {
    "no response": silent,
    "silent in the head": silent_after(HEAD_BYTES),
    "silent in the body": silent_after(BODY_BYTES),
    "silent before the last byte": silent_after(-1),
    "a head that drips": dripping_after(0),
    "a body that drips": dripping_after(BODY_BYTES),
}


@at_places("fault", SLOW, "silent in the body")
def test_a_response_that_does_not_come_whole_is_waited_for_up_to_the_limit(
    place: Place, fault: Fault, short_limits: float
) -> None:
    with faulty(place, fault) as server:
        tried = place.try_at(server.url)
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    said = rf"no whole response within {short_limits:g} s"
    tried.failed(RequestTimedOut, f"{place.line} at {server.url}", said, hint)
    # A wait polls again as long as the runner may be away, which is as long here.
    assert short_limits * 0.9 < tried.seconds < 2 * short_limits + SLACK_SECONDS


@contextlib.contextmanager
def listening(use: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bool]]]:
    """A server that accepts connections and does something to each, by no word of HTTP.

    Yields:
        Its URL, and an entry for each connection that was accepted.
    """
    accepted: list[bool] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(True)
                use(connection)

    with ThreadPoolExecutor(1) as threads, socket.create_server(("127.0.0.1", 0)) as listener:
        threads.submit(accept)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
        finally:
            # Closing alone does not wake a thread that accepts.
            listener.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Break a connection off, before anything is read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@at_every_block
def test_a_connection_that_is_reset_when_accepted_is_an_unreachable_runner(place: Place) -> None:
    with listening(reset) as (url, accepted):
        tried = place.try_at(url)
    assert isinstance(tried.error, RunnerUnreachable)
    # Which of them it is depends on how far the request came.
    cause = lost("(ReadError|WriteError|RemoteProtocolError): .*")
    lost_or_never = rf"({cause}|no connection \(ConnectError: .*\))\. .+"
    line = re.escape(f"{place.line} at {url}")
    assert re.fullmatch(rf"{line}: {lost_or_never}", str(tried.error)), str(tried.error)
    assert len(accepted) == 1


@at_every_block
def test_a_half_open_connection_is_waited_for_up_to_the_limit(
    place: Place, short_limits: float
) -> None:
    with contextlib.ExitStack() as stack:
        # Its other half is closed: it can be written to, and nothing will ever come.
        url, accepted = stack.enter_context(
            listening(lambda connection: _keep(stack, connection, socket.SHUT_RD))
        )
        tried = place.try_at(url)
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    said = f"no whole response within {short_limits:g} s"
    tried.failed(RequestTimedOut, f"{place.line} at {url}", said, hint)
    assert len(accepted) == 1
    assert short_limits * 0.9 < tried.seconds < short_limits + SLACK_SECONDS


@at_every_block
def test_a_connection_that_is_open_one_way_only_is_an_unreachable_runner(place: Place) -> None:
    with contextlib.ExitStack() as stack:
        url, accepted = stack.enter_context(
            listening(lambda connection: _keep(stack, connection, socket.SHUT_WR))
        )
        tried = place.try_at(url)
    hint = MAY_RUN if place.is_run else TRY_AGAIN
    tried.failed(RunnerUnreachable, f"{place.line} at {url}", lost(CLOSED), hint)
    assert len(accepted) == 1


def _keep(stack: contextlib.ExitStack, connection: socket.socket, closed_half: int) -> None:
    stack.enter_context(connection)
    connection.shutdown(closed_half)


@at_every_block
def test_a_server_that_takes_no_connection_is_an_unreachable_runner(
    place: Place, short_limits: float
) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        tried = place.try_at(f"http://127.0.0.1:{port}")
    said = rf"no connection within {short_limits:g} s\. Is script-runner running there\?"
    assert isinstance(tried.error, RunnerUnreachable)
    line = re.escape(f"{place.line} at http://127.0.0.1:{port}")
    hint = rf"Inside a container use http://host\.docker\.internal:{port}\."
    assert re.fullmatch(rf"{line}: {said} {hint}", str(tried.error))
    assert short_limits * 0.9 < tried.seconds < short_limits + SLACK_SECONDS


@at_every_block
def test_a_port_where_nothing_listens_is_an_unreachable_runner(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    tried = place.try_at(f"http://127.0.0.1:{port}")
    refused = re.escape(f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}")
    line = f"{place.line} at http://127.0.0.1:{port}"
    said = rf"no connection \(ConnectError: {refused}\)\. Is script-runner running there\?"
    assert isinstance(tried.error, RunnerUnreachable)
    assert re.match(rf"{re.escape(line)}: {said}", str(tried.error))
