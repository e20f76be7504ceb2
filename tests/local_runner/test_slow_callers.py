"""Callers that are slow to send, do not read, or hold connections: each has a limit of time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_runner.http import protocol
from tests.local_runner.served import ENOUGH, Served, serving

SOON = 0.3
LATE = 60.0
"""Seconds: long over, and never over, when a test ends."""

SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "waits": '#!/bin/sh\nwhile [ ! -e "$1" ]; do sleep 0.02; done\n',
    "prints-much": "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x\n",
}
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
JSON = b"Host: localhost\r\nContent-Type: application/json\r\n"
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\n"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, SCRIPTS) as started:
        yield started


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sets the limit that it is about."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "RESPONSE_SECONDS"):
        monkeypatch.setattr(protocol, name, LATE)


def limit(monkeypatch: pytest.MonkeyPatch, name: str, value: float = SOON) -> None:
    monkeypatch.setattr(protocol, name, value)


def run_request(script_id: str, *args: str) -> bytes:
    body = json.dumps({"scriptId": script_id, "args": args, "mode": "sync"}).encode()
    return b"POST /run HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (JSON, len(body), body)


async def test_a_connection_that_says_nothing_is_closed_without_a_word(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "HEAD_SECONDS")
    caller = await served.call()

    assert await caller.all_that_comes() == b""


@pytest.mark.parametrize("first", [b"", HEALTHZ])
async def test_headers_that_come_byte_by_byte_have_no_more_time_than_any_other(
    served: Served, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    limit(monkeypatch, "HEAD_SECONDS")
    caller = await served.call(first)
    if first:
        assert await caller.response() == (200, b'{"ok":true}')
    caller.send(HEALTHZ[:-2])

    trickle = asyncio.create_task(caller.trickle(b"X-More: more\r\n"))
    await caller.all_that_comes()

    await trickle
    assert not served.connections


async def test_headers_that_stop_coming_get_408(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "HEAD_SECONDS")
    caller = await served.call(HEALTHZ[:-2])

    response = await caller.all_that_comes()

    assert response.startswith(TIMED_OUT)
    assert b"\r\nconnection: close\r\n" in response


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{"]
)
async def test_a_body_that_stops_coming_gets_408_and_nothing_runs(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, framing: bytes
) -> None:
    limit(monkeypatch, "BODY_SECONDS")
    caller = await served.call(b"POST /run HTTP/1.1\r\n" + JSON + framing)

    assert (await caller.all_that_comes()).startswith(TIMED_OUT)
    assert not (tmp_path / "logs").exists()


async def test_a_body_that_comes_byte_by_byte_has_no_more_time_than_any_other(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "BODY_SECONDS")
    caller = await served.call(b"POST /run HTTP/1.1\r\n" + JSON + b"Content-Length: 100000\r\n\r\n")

    trickle = asyncio.create_task(caller.trickle(b" "))
    await caller.all_that_comes()

    await trickle
    assert not served.connections


@pytest.mark.parametrize("head", [b"Host: localhost\r\n", b"Host: evil.example\r\n"])
async def test_a_slow_body_that_nobody_wants_is_no_way_round_the_limit(
    served: Served, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    limit(monkeypatch, "BODY_SECONDS")
    caller = await served.call(
        b"GET /healthz HTTP/1.1\r\n" + head + b"Content-Length: 100000\r\n\r\n"
    )

    response = await caller.all_that_comes()

    assert b"\r\nconnection: close\r\n" in response
    await caller.trickle(b" ")
    await served.all_closed()


async def test_a_sync_run_may_take_longer_than_any_of_the_limits(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "RESPONSE_SECONDS"):
        limit(monkeypatch, name)
    caller = await served.call(run_request("waits", str(tmp_path / "gate")))
    for _ in range(3):
        await served.let_time_pass()

    (tmp_path / "gate").touch()

    status, body = await caller.response()
    assert (status, json.loads(body)["status"]) == (200, "succeeded")


async def test_an_idle_connection_is_kept_longer_than_headers_may_take(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "HEAD_SECONDS")
    caller = await served.call(HEALTHZ)
    assert await caller.response() == (200, b'{"ok":true}')
    await served.let_time_pass()

    caller.send(HEALTHZ)

    assert await caller.response() == (200, b'{"ok":true}')


async def test_pipelined_requests_get_their_responses_in_order(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit(monkeypatch, "HEAD_SECONDS")
    caller = await served.call(run_request("waits", str(tmp_path / "gate")) + HEALTHZ)
    await served.let_time_pass()

    (tmp_path / "gate").touch()

    assert (await caller.response())[0] == 200
    assert await caller.response() == (200, b'{"ok":true}')


async def test_a_caller_that_does_not_read_its_responses_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "RESPONSE_SECONDS")
    caller = await served.call(run_request("prints-much"))
    job_id = json.loads((await caller.response())[1])["jobId"]
    page = f"GET /jobs/{job_id}/logs?limit=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    caller.reader._transport.pause_reading()  # type: ignore[attr-defined]

    caller.send(page.encode() * 100)

    await served.all_closed()


async def test_of_too_many_half_sent_requests_the_oldest_goes(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, "MAX_HALF_SENT", 5)
    polled = await served.call(HEALTHZ)
    await polled.response()
    half_sent = [await served.call(HEALTHZ[:-2]) for _ in range(3)]
    half_sent += [await served.call(run_request("hello")[:-1]) for _ in range(3)]

    assert (await half_sent[0].all_that_comes()).startswith(TIMED_OUT)

    for caller in half_sent[1:3]:
        caller.send(b"\r\n")
        assert await caller.response() == (200, b'{"ok":true}')
    for caller in half_sent[3:]:
        caller.send(b"}")
        assert (await caller.response())[0] == 200
    polled.send(HEALTHZ)
    assert await polled.response() == (200, b'{"ok":true}')


async def test_a_thousand_silent_connections_keep_nobody_out(served: Served) -> None:
    for _ in range(1000):
        await served.call(b"POST")

    caller = await served.call(run_request("hello"))

    assert (await caller.response())[0] == 200


@pytest.mark.parametrize("pieces", [1, 40])
@pytest.mark.parametrize(
    "line", [b"GET /%b HTTP/1.1\r\nHost: localhost", b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: %b"]
)
async def test_a_head_is_at_most_64_kib_however_it_comes(
    served: Served, line: bytes, pieces: int
) -> None:
    async def status_of(size: int) -> bytes:
        head = line % (b"x" * (size - len(line) - 2)) + b"\r\n\r\n"
        caller = await served.call()
        step = -(-len(head) // pieces)
        for start in range(0, len(head), step):
            caller.send(head[start : start + step])
            await caller.writer.drain()
        async with asyncio.timeout(ENOUGH):
            return (await caller.reader.readline())[9:12]

    assert await status_of(protocol.MAX_HEAD_BYTES) == b"404"
    assert await status_of(protocol.MAX_HEAD_BYTES + 1) in (b"400", b"")
