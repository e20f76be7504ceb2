"""Bytes for a running local runner: requests that are right, mutated or made up; and its health."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from hypothesis import strategies as st

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.slow.fuzz.raw_responses import RawResponse, check_response, responses_in

SCRIPT = "quick-echo"
SCRIPTS = {SCRIPT: "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"}
RUN_BODY = b'{"scriptId":"quick-echo","args":["a"],"mode":"async"}'
QUIET_SECONDS = 0.02
"""How long a response may keep one waiting before the next thing is tried."""

CLOSE_SECONDS = 20.0
"""How long a runner may take to take what is sent, and to close a connection that is half closed.
"""

HOST = b"Host: localhost\r\n"
RUN = b"POST /run HTTP/1.1\r\n" + HOST
JSON = b"Content-Type: application/json\r\n"
TEMPLATES = [
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /jobs/job_1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /jobs/job_1/logs?stream=stdout&offset=0&limit=10 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /jobs/job_1/cancel HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    RUN + JSON + b"Content-Length: %d\r\n\r\n" % len(RUN_BODY) + RUN_BODY,
    RUN + JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n%b\r\n0\r\n\r\n" % (len(RUN_BODY), RUN_BODY),
    b"OPTIONS /run HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    RUN + JSON + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
]  # fmt: skip
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"/", b"%", b"%2f", b"%ff", b"..", b"?", b"#"),
    *(b"\xff", b"\xc3", b"-1", b"99999999999999999999", b"HTTP/1.0", b"HTTP/2.0", b"x" * 70_000),
    *(b"Host: evil\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"[" * 5000),
    *(b"Authorization: Basic !!\r\n", b"Connection: close\r\n", b"{", b'"\\ud800"', b"1e999"),
]


@st.composite
def requests(draw: st.DrawFn) -> list[bytes]:
    """Some requests for one connection, most of them mutated."""
    made = []
    for _ in range(draw(st.integers(1, 3))):
        raw = bytearray(draw(st.sampled_from(TEMPLATES)) if draw(st.integers(0, 9)) else b"")
        for _change in range(draw(st.integers(0, 4))):
            position = draw(st.integers(0, len(raw)))
            removed = draw(st.sampled_from([0, 0, 1, 2, 8]))
            put = draw(st.sampled_from(PIECES) | st.binary(max_size=8))
            raw[position : position + removed] = put
        made.append(bytes(raw))
    return made


endings = st.sampled_from(["close", "half-close", "reset"])


def send(runner: RunnerProcess, parts: Sequence[bytes], ending: str) -> list[RawResponse]:
    """Send bytes over a connection of their own, and end it in some way; returns the responses.

    Raises:
        TimeoutError: If the runner does not take the bytes, or does not close the connection.
    """
    host, _, port = runner.url.removeprefix("http://").partition(":")
    received: list[bytes] = []
    with socket.create_connection((host, int(port)), CLOSE_SECONDS) as connection:
        try:
            received.extend(_talk(connection, parts, ending))
        except TimeoutError:
            raise
        except OSError:
            # The runner may break off a connection of which it has not read all.
            ending = "broken off"
    return list(responses_in(b"".join(received), is_all=ending == "half-close"))


def _talk(connection: socket.socket, parts: Sequence[bytes], ending: str) -> Iterator[bytes]:
    """Send bytes and end the connection; gives what comes meanwhile."""
    for part in parts:
        connection.sendall(part)
        connection.settimeout(QUIET_SECONDS)
        with contextlib.suppress(TimeoutError):
            yield connection.recv(65536)
        connection.settimeout(CLOSE_SECONDS)
    if ending == "half-close":
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            yield part
    elif ending == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def check_request(runner: RunnerProcess, parts: Sequence[bytes], ending: str) -> None:
    """Whatever a runner is sent: its responses are those of the wire, and it goes on, no error."""
    before = len(runner.events)
    for response in send(runner, parts, ending):
        check_response(response)
    assert not (new := errors_among(runner.logged()[before:])), new


def errors_among(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a runner has logged of its own mistakes: errors, and what is no event at all."""
    return [event for event in events if event["event"] in ("error", "critical", "not an event")]


def fuzzed_runner(folder: Path) -> RunnerProcess:
    """A runner for this: its one script is harmless, and its history short."""
    return RunnerProcess(folder, SCRIPTS, runner={"maxJobs": 20})


@contextlib.contextmanager
def healthy_after(runner: RunnerProcess) -> Iterator[None]:
    """Check afterwards that a runner still runs scripts, and soon has no more open than before."""
    # The first requests open what stays open.
    check_request(runner, TEMPLATES, "close")
    before = _open_files(runner)
    yield
    job = runner.run(SCRIPT, "still", "here")
    assert (job["status"], job["stdoutPreview"]) == ("succeeded", "still\nhere\n"), job
    wait_until(lambda: not psutil.Process(runner.pid).children(recursive=True))
    wait_until(lambda: _open_files(runner) <= before)
    assert not errors_among(runner.logged())


def _open_files(runner: RunnerProcess) -> int:
    """How many files and sockets a runner has open."""
    return psutil.Process(runner.pid).num_fds()
