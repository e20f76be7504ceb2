"""Requests made to hurt: too large, with tricks in the path, with lines for the log."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.talk import RESPONSE_SECONDS, TAP, Tap, post_bytes, send

MIB = 1024 * 1024
LIMIT = 2 * MIB
JSON = ["Host: localhost", "Content-Type: application/json"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("requests"), {"tap": TAP, "echo": "#!/bin/sh\necho hello\n"}
    ) as started:
        yield started


Framing = Callable[[bytes], tuple[list[str], bytes]]
"""Puts a body on the wire; returns header lines and bytes."""


def run_body(size: int) -> bytes:
    """A request to run a script, of so many bytes."""
    body = b'{"scriptId":"echo","mode":"sync","padding":""}'
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


def chunked(body: bytes) -> bytes:
    pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def sized(body: bytes) -> tuple[list[str], bytes]:
    return [f"Content-Length: {len(body)}"], body


def unsized(body: bytes) -> tuple[list[str], bytes]:
    return ["Transfer-Encoding: chunked"], chunked(body)


@pytest.mark.parametrize("framed", [sized, unsized])
def test_a_body_of_2_mib_is_taken(runner: RunnerProcess, framed: Framing) -> None:
    framing, body = framed(run_body(LIMIT))

    assert send(runner.url, "POST /run", [*JSON, *framing], body).status == 200


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * MIB, 15 * MIB])
@pytest.mark.parametrize("framed", [sized, unsized])
def test_a_larger_body_is_refused_in_a_response_that_can_be_read(
    runner: RunnerProcess, framed: Framing, size: int
) -> None:
    framing, body = framed(run_body(size))

    response = send(runner.url, "POST /run", [*JSON, *framing], body)

    assert response.refusal == (413, "BODY_TOO_LARGE")
    assert runner.run("echo")["stdoutPreview"] == "hello\n"


@pytest.mark.parametrize("size", [LIMIT + 1, 100 * MIB])
def test_a_client_that_sends_on_reads_413_too(runner: RunnerProcess, size: int) -> None:
    response = post_bytes(runner, b"x" * size)

    assert (response.status_code, response.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "5, 6", "٣".encode().decode("latin-1")])
def test_a_length_that_is_none_is_a_bad_request(runner: RunnerProcess, length: str) -> None:
    response = send(runner.url, "POST /run", [*JSON, f"Content-Length: {length}"], b"{}")

    assert response.status == 400


@pytest.mark.parametrize(
    "request_line", ["GET /healthz", "GET /jobs/nope", "POST /jobs/nope/cancel", "POST /nope"]
)
def test_a_large_body_for_a_route_that_wants_none_is_refused(
    runner: RunnerProcess, request_line: str
) -> None:
    framing, body = sized(b"x" * (LIMIT + 1))

    response = send(runner.url, request_line, [*JSON, *framing], body)

    assert response.refusal == (413, "BODY_TOO_LARGE")


def test_clients_that_break_off_do_not_hurt_the_others(runner: RunnerProcess) -> None:
    where = httpx.URL(runner.url)
    head = "\r\n".join(["POST /run HTTP/1.1", *JSON, "Content-Length: 100", "", ""]).encode()
    for sent in (b"", b"GET", head, head + b"{"):
        with socket.create_connection((where.host, where.port or 80)) as connection:
            connection.sendall(sent)

    assert runner.run("echo")["stdoutPreview"] == "hello\n"
    assert [event for event in runner.logged() if event["event"] == "error"] == []


JOB_IDS = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cetc",
    "%00",
    "job%00.log",
    "%ff%fe",
    "%ed%a0%80",
    "%zz",
    "%",
    "'%20OR%201=1--",
    "%25",
    "*",
    "x" * 30_000,
    "%e6%97%a5" * 3000,
]
NO_ROUTES = [
    "/jobs/",
    "/jobs/../../etc/passwd",
    "/jobs//etc/passwd/logs",
    "/" + "x" * 30_000,
    "//evil.example/jobs",
]
ROUTES = ["GET {}", "GET {}/logs", "POST {}/cancel"]


def shortened(value: object) -> str:
    return str(value)[:40]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("job_id", JOB_IDS, ids=shortened)
def test_a_job_id_with_tricks_is_no_job(runner: RunnerProcess, route: str, job_id: str) -> None:
    response = send(runner.url, route.format(f"/jobs/{job_id}"))

    assert response.refusal == (404, "JOB_NOT_FOUND")
    assert len(response.body) < 1000


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("path", NO_ROUTES, ids=shortened)
def test_a_path_with_tricks_leads_nowhere(runner: RunnerProcess, route: str, path: str) -> None:
    response = send(runner.url, route.format(path))

    assert response.refusal == (404, "NOT_FOUND")
    assert len(response.body) < 1000


def all_that_comes(runner: RunnerProcess, *pieces: bytes) -> bytes:
    """What the runner sends until it closes the connection, which it may do while we send."""
    where = httpx.URL(runner.url)
    received = b""
    with socket.create_connection((where.host, where.port or 80), RESPONSE_SECONDS) as connection:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                connection.sendall(piece)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                received += data
    return received


def test_a_request_line_of_200_kb_is_a_bad_request(runner: RunnerProcess) -> None:
    line = b"GET /jobs/" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"

    response = all_that_comes(runner, line)

    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.endswith(b"\r\n\r\nRequest head too large: max 65536 bytes.")
    assert runner.run("echo")["stdoutPreview"] == "hello\n"


@pytest.mark.parametrize(
    "beginning", [b"2;extension=", b"2\r\n{}\r\n0\r\ntrailer: "], ids=["extension", "trailer"]
)
@pytest.mark.parametrize("size", [70_000, 64 * MIB])
def test_what_may_stand_around_chunks_is_bounded_too(
    runner: RunnerProcess, beginning: bytes, size: int
) -> None:
    head = "\r\n".join(["POST /run HTTP/1.1", *JSON, "Transfer-Encoding: chunked", "", ""])
    memory = psutil.Process(runner.pid).memory_info().rss

    response = all_that_comes(
        runner, head.encode() + beginning, *[b"x" * 70_000] * (size // 70_000), b"\r\n\r\n"
    )

    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"Body framing too large: send larger chunks." in response
    assert psutil.Process(runner.pid).memory_info().rss - memory < 8 * MIB
    assert runner.run("echo")["stdoutPreview"] == "hello\n"


def test_an_escaped_slash_is_a_part_of_the_job_id(runner: RunnerProcess) -> None:
    job_id = runner.run("echo")["jobId"]

    response = send(runner.url, f"GET /jobs/{job_id}%2Flogs")

    assert (response.status, json.loads(response.body).get("error")) == (
        404,
        {"code": "JOB_NOT_FOUND", "message": f"job not found: {job_id}%2Flogs"},
    )


def test_an_escaped_slash_cancels_nothing(runner: RunnerProcess, tmp_path: Path) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tap.write(b"x")

        response = send(runner.url, f"POST /jobs/{job_id}%2Fcancel")

    assert (response.status, runner.ended(job_id)["status"]) == (404, "succeeded")


def logged(runner: RunnerProcess, path: str) -> dict[str, Any]:
    """The line about a request."""
    return wait_until(
        lambda: next((event for event in runner.events if event.get("path") == path), None)
    )


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/a%0d%0aforged%20line",
        "/jobs/a%0aforged",
        "/%1b[31mred",
        "/jobs/a%22,%22event%22:%22forged",
        "/jobs/%e2%80%a8",
    ],
)
def test_a_path_is_logged_as_it_was_sent(runner: RunnerProcess, path: str) -> None:
    response = send(runner.url, f"GET {path}")

    assert response.status == 404
    event = logged(runner, path)
    assert event == {
        "time": event["time"],
        "event": "request",
        "method": "GET",
        "path": path,
        "status": 404,
        "duration_ms": event["duration_ms"],
        "client": "127.0.0.1",
    }
    assert [event for event in runner.logged() if event["event"] == "not an event"] == []
    assert [name for name in response.headers if "forged" in name] == []


def test_a_header_cannot_say_who_the_client_is(runner: RunnerProcess) -> None:
    forged = "X-Forwarded-For: 203.0.113.9 job_end status=succeeded"

    send(runner.url, "GET /jobs/forwarded", ["Host: localhost", forged])

    assert logged(runner, "/jobs/forwarded")["client"] == "127.0.0.1"
