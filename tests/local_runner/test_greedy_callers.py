"""Callers that want more than their share: crumbs to parse, memory for what they do not read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import struct
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h11
import pytest

from local_runner.http import large, protocol
from local_runner.http.encoding import PIECE_BYTES, encode
from local_runner.storage.log_pages import Page, read_page
from tests.local_runner.served import ENOUGH, Caller, Served, serving

TOKEN = "secret"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n"
RUN = b'{"scriptId":"hello","mode":"sync"}'
RESET = struct.pack("ii", 1, 0)
CRUMB = b"1\r\n \r\n"
PAGE_BYTES = 1_000_000
SCRIPTS = {
    "hello": "#!/bin/sh\necho hello\n",
    "prints-much": f"#!/bin/sh\nhead -c {PAGE_BYTES} /dev/zero | tr '\\0' x\n",
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, SCRIPTS, TOKEN) as started:
        yield started


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the parser of HTTP is given, piece by piece."""
    pieces: list[bytes] = []
    receive = h11.Connection.receive_data

    def receive_and_note(connection: h11.Connection, data: bytes) -> None:
        pieces.append(data)
        receive(connection, data)

    monkeypatch.setattr(h11.Connection, "receive_data", receive_and_note)
    return pieces


def head(*lines: str, token: str = TOKEN, line: str = "POST /run") -> bytes:
    """The head of a request."""
    headers = [
        "Host: localhost",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
    ]
    return "\r\n".join([f"{line} HTTP/1.1", *headers, *lines, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"
REFUSED = [
    (head(CHUNKED, token="wrong"), 401),
    (head(CHUNKED).replace(b"Host: localhost", b"Host: evil.example"), 403),
    (head(CHUNKED, "Origin: http://evil.example"), 403),
    (head(CHUNKED).replace(b"application/json", b"text/plain"), 415),
    (head(f"Content-Length: {2**30}"), 413),
    (head(CHUNKED, line="GET /healthz"), 200),
    (head(CHUNKED, line="GET /nope"), 404),
]


@pytest.mark.parametrize(("request_head", "status"), REFUSED)
async def test_no_byte_of_a_body_that_nobody_wants_is_parsed(
    served: Served, parsed: list[bytes], request_head: bytes, status: int
) -> None:
    caller = await served.call(request_head + CRUMB * 100_000)

    response = await caller.all_that_comes()

    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close\r\n" in response
    assert b"".join(parsed) == request_head


async def test_a_caller_that_sends_on_without_end_is_cut_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_DISCARDED_BYTES", 1_000_000)
    caller = await served.call(head(CHUNKED, token="wrong"))

    async with asyncio.timeout(ENOUGH):
        while not caller.writer.is_closing():
            caller.send(CRUMB * 1000)
            with contextlib.suppress(ConnectionError):
                await caller.writer.drain()
            await asyncio.sleep(0)

    await served.all_closed()


async def test_a_body_in_too_many_chunks_is_refused_before_it_is_parsed(
    served: Served, parsed: list[bytes], tmp_path: Path
) -> None:
    caller = await served.call(head(CHUNKED) + CRUMB * 100_000)

    response = await caller.all_that_comes()

    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nBody framing too large: send larger chunks.\r\n" in response
    assert sum(map(len, parsed)) < 2 * protocol.MAX_CHUNK_BYTES
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("end", [b"\r\n", b"a: \r\n"])
async def test_of_a_head_of_too_many_lines_no_byte_is_parsed(
    served: Served, parsed: list[bytes], end: bytes
) -> None:
    few = HEALTHZ[:-2] + b"a: \r\n" * (protocol.MAX_HEADERS - 2)
    assert (await (await served.call(few + b"\r\n")).response())[0] == 200
    parsed.clear()

    caller = await served.call(few + b"a: \r\n" + end)

    response = await caller.all_that_comes()
    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.endswith(b"\r\n\r\nToo many headers: max 100 lines.")
    assert parsed == []


async def test_others_have_their_turn_between_the_pieces_of_a_body(
    served: Served, parsed: list[bytes]
) -> None:
    crumbs = b"".join(b"1\r\n%c\r\n" % byte for byte in RUN.ljust(2000)) + b"0\r\n\r\n"

    caller = await served.call(head(CHUNKED) + crumbs)

    assert (await caller.response())[0] == 200
    assert max(map(len, parsed)) <= protocol.CHUNKED_PIECE


async def test_a_request_right_behind_a_body_is_served(served: Served) -> None:
    """Wherever the bytes that come together end."""
    behind = b"%x\r\n%b\r\n0\r\n\r\n" % (len(RUN), RUN)
    sized = head(f"Content-Length: {len(RUN)}") + RUN
    for request in (head(CHUNKED) + behind, sized):
        for cut in (len(request) - 3, len(request) + 5, len(request) + len(HEALTHZ) - 1):
            caller = await served.call((request + HEALTHZ)[:cut])
            await asyncio.sleep(0)
            caller.send((request + HEALTHZ)[cut:])
            assert (await caller.response())[0] == 200
            assert await caller.response() == (200, b'{"ok":true}')


EXPECT = "Expect: 100-continue"


async def test_a_caller_that_asks_is_told_to_send_a_body_that_is_wanted(served: Served) -> None:
    caller = await served.call(head(EXPECT, f"Content-Length: {len(RUN)}"))
    assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")

    caller.send(RUN)

    assert (await caller.response())[0] == 200


async def test_a_caller_that_has_sent_some_of_the_body_is_told_nothing(served: Served) -> None:
    caller = await served.call(head(EXPECT, f"Content-Length: {len(RUN)}") + RUN)

    assert (await caller.response())[0] == 200


@pytest.mark.parametrize(("request_head", "status"), REFUSED)
async def test_a_caller_that_asks_is_not_told_to_send_a_body_that_is_refused(
    served: Served, request_head: bytes, status: int
) -> None:
    caller = await served.call(
        request_head.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % EXPECT.encode())
    )

    assert (await caller.all_that_comes()).startswith(b"HTTP/1.1 %d " % status)


async def test_a_cancel_with_a_body_does_not_end_the_connection(served: Served) -> None:
    caller = await served.call(head("Content-Length: 2", line="POST /jobs/x/cancel") + b"{}")
    assert (await caller.response())[0] == 404

    caller.send(HEALTHZ)

    assert await caller.response() == (200, b'{"ok":true}')


# -- what is kept for callers that do not read


async def page_request(served: Served) -> bytes:
    """A request for a large page."""
    body = RUN.replace(b"hello", b"prints-much")
    caller = await served.call(head(f"Content-Length: {len(body)}") + body)
    job_id = json.loads((await caller.response())[1])["jobId"]
    return head(line=f"GET /jobs/{job_id}/logs?limit={PAGE_BYTES}")


async def stuck(served: Served, request: bytes) -> Caller:
    """A caller that has sent a request and reads nothing of the response but what it must."""
    known = set(served.connections)
    caller = await served.call()
    async with asyncio.timeout(ENOUGH):
        while not (accepted := served.connections - known):
            await asyncio.sleep(0)
    for each in accepted:
        # The system takes little, so that what is handed over is seen.
        own = each.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    connection = caller.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.reader._transport.pause_reading()  # type: ignore[attr-defined]
    caller.send(request)
    return caller


async def test_no_more_of_a_response_is_handed_over_than_its_caller_reads(served: Served) -> None:
    request = await page_request(served)
    callers = [await stuck(served, request * 10) for _ in range(5)]

    async with asyncio.timeout(ENOUGH):
        while len(protocol.BoundedProtocol._unread) < len(callers):
            await asyncio.sleep(0.01)

    for connection in protocol.BoundedProtocol._unread:
        assert 0 < connection.transport.get_write_buffer_size() < 3 * PIECE_BYTES


@pytest.mark.parametrize("requests", [1, 3])
async def test_nothing_is_kept_of_a_caller_that_resets_the_connection(
    served: Served, requests: int
) -> None:
    """Neither after a response nor in the middle of one."""
    request = await page_request(served) if requests > 1 else HEALTHZ
    served.hang_up()
    await served.all_closed()
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", served.port))
        await loop.sock_sendall(connection, request * requests)
        await loop.sock_recv(connection, 1)
        kept = [weakref.ref(connection) for connection in served.connections]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    await served.all_closed()

    async with asyncio.timeout(ENOUGH):
        while any(reference() for reference in kept):
            await asyncio.sleep(0.01)
            gc.collect()


async def test_a_caller_that_resets_the_connection_as_it_is_refused_is_no_failure(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    close = protocol.BoundedProtocol.close
    connection = socket.socket()

    def reset_and_close(self: protocol.BoundedProtocol, transport: asyncio.Transport) -> None:
        if connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
        close(self, transport)

    monkeypatch.setattr(protocol.BoundedProtocol, "close", reset_and_close)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", served.port))
    await loop.sock_sendall(connection, head(CHUNKED, token="wrong"))

    async with asyncio.timeout(ENOUGH):
        while connection.fileno() >= 0:
            await asyncio.sleep(0.01)
    await served.all_closed()

    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_those_who_wait_for_a_large_response_do_not_wait_for_one_who_reads_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "MAX_UNSENT_BYTES", 2 * PAGE_BYTES)
    monkeypatch.setattr(large, "SLOW_SECONDS", 0.05)
    request = await page_request(served)
    silent = [await stuck(served, request * 10) for _ in range(4)]
    async with asyncio.timeout(ENOUGH):
        while len(protocol.BoundedProtocol._unread) < 2:
            await asyncio.sleep(0.01)

    reader = await served.call(request)

    assert (await reader.response())[0] == 200
    assert len(served.connections) < len(silent) + 2


@pytest.mark.parametrize("limit", [1, PAGE_BYTES])
async def test_a_log_that_cannot_be_read_just_now_holds_up_nobody_else(
    served: Served, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    request = (await page_request(served)).replace(b"limit=1000000", b"limit=%d" % limit)
    goes_on = threading.Event()

    def read_when_it_goes_on(*args: Any, **kinds: Any) -> Page:
        assert goes_on.wait(ENOUGH)
        return read_page(*args, **kinds)

    monkeypatch.setattr("local_runner.storage.log_pages.read_page", read_when_it_goes_on)
    readers = [await served.call(request) for _ in range(10)]
    other = await served.call(HEALTHZ)

    assert await other.response() == (200, b'{"ok":true}')

    goes_on.set()
    for reader in readers:
        assert (await reader.response())[0] == 200


async def test_a_page_that_takes_long_to_make_holds_up_nobody_else(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await page_request(served)
    is_made, goes_on = threading.Event(), threading.Event()

    def encode_when_it_goes_on(page: Any) -> bytes:
        is_made.set()
        assert goes_on.wait(ENOUGH)
        return encode(page)

    monkeypatch.setattr(large, "encode", encode_when_it_goes_on)
    reader = await served.call(request)
    async with asyncio.timeout(ENOUGH):
        while not is_made.is_set():
            await asyncio.sleep(0.01)
    other = await served.call(HEALTHZ)

    assert await other.response() == (200, b'{"ok":true}')

    goes_on.set()
    assert (await reader.response())[0] == 200
