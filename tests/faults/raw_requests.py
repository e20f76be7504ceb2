"""Bytes for a running local runner: requests that are right, mutated or made up; and its health."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import psutil
from hypothesis import strategies as st

from tests.runner_process import RunnerProcess
from tests.waiting import wait_until

SCRIPT = "quick-echo"
SCRIPTS = {SCRIPT: "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"}
RUN_BODY = b'{"scriptId":"quick-echo","args":["a"],"mode":"async"}'
QUIET_SECONDS = 0.02
"""How long an answer may keep one waiting before the next thing is tried."""

KNOWN_ERRORS = ("can't handle event type Response when role=SERVER",)
"""A body that cannot be read is refused by uvicorn itself while a handler may answer too; the
caller gets one answer, the log the error of the other."""

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


def send(runner: RunnerProcess, parts: Sequence[bytes], ending: str) -> None:
    """Send bytes to a runner over a connection of their own, and end it in some way."""
    host, _, port = runner.url.removeprefix("http://").partition(":")
    with (
        socket.create_connection((host, int(port)), 5) as connection,
        contextlib.suppress(OSError),
    ):
        for part in parts:
            connection.sendall(part)
            connection.settimeout(QUIET_SECONDS)
            with contextlib.suppress(TimeoutError):
                connection.recv(65536)
            connection.settimeout(5)
        if ending == "half-close":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        elif ending == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def check_request(runner: RunnerProcess, parts: Sequence[bytes], ending: str) -> None:
    """Whatever a runner is sent, it answers the next request, and has no error in its log."""
    before = len(errors_of(runner))
    send(runner, parts, ending)
    assert runner.http.get("/healthz").json() == {"ok": True}
    new = errors_of(runner)[before:]
    assert not new, new


def errors_of(runner: RunnerProcess) -> list[dict[str, object]]:
    """What a runner has logged of its own mistakes: errors, and what is no event at all."""
    return [
        event
        for event in runner.events
        if event["event"] in ("error", "critical", "not an event")
        and not any(known in str(event.get("message")) for known in KNOWN_ERRORS)
    ]


def fuzzed_runner(folder: Path) -> RunnerProcess:
    """A runner for this: its one script is harmless, and its history short."""
    return RunnerProcess(folder, SCRIPTS, runner={"maxJobs": 20})


def open_files(runner: RunnerProcess) -> int:
    """How many files and sockets a runner has open."""
    return psutil.Process(runner.pid).num_fds()


def check_no_leak(runner: RunnerProcess, before: int) -> None:
    """Check that a runner has, soon, no more open than before, and ran no script on and on."""
    wait_until(lambda: open_files(runner) <= before)
    assert not errors_of(runner)
