"""An attacker's requests: a page in somebody's browser, or whoever finds the port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from scripts.runner_process import RunnerProcess
from tests.local_runner.talk import RawResponse, send

TOOLS = "https://tools.example"
RUN = b'{"scriptId":"echo","mode":"sync"}'
JSON = f"Content-Type: application/json\r\nContent-Length: {len(RUN)}"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(tmp_path_factory.mktemp("plain"), {"echo": "#!/bin/sh\n"}) as started:
        yield started
    assert [event for event in started.events if event["event"] == "not an event"] == []


@pytest.fixture(scope="module")
def friendly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    """A runner that serves another name and the pages of another origin."""
    with RunnerProcess(
        tmp_path_factory.mktemp("friendly"),
        {"echo": "#!/bin/sh\n"},
        server={
            "allowedHosts": ["Box.Local", "b\u00fccher.example", "fd00:0::1"],
            "allowedOrigins": [f"{TOOLS}:443", "null"],
        },
    ) as started:
        yield started


def run(runner: RunnerProcess, *headers: str) -> RawResponse:
    """Run a script, with more or other headers."""
    host = [] if any(line.lower().startswith("host:") for line in headers) else ["Host: localhost"]
    return send(runner.url, "POST /run", [*host, JSON, *headers], RUN)


def newest_job(runner: RunnerProcess) -> list[object]:
    return list(runner.http.get("/jobs?limit=1").json()["jobs"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:1",
        "LOCALHOST:3000",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:65535",
        "127.9.9.9",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]",
        "host.docker.internal",
        "Host.Docker.Internal.:3000",
    ],
)
def test_names_of_this_machine_are_served(runner: RunnerProcess, host: str) -> None:
    assert run(runner, f"Host: {host}").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:3000",
        "EVIL.EXAMPLE",
        "localhost.evil.example",
        "evil-localhost",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost:x@evil.example",
        "evil.example:80@127.0.0.1",
        "localhost:3000:3000",
        "localhost:port",
        "localhost#evil.example",
        "localhost/evil.example",
        "evil.example/localhost",
        "localhost, evil.example",
        "localhost evil.example",
        "localhost\tevil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "192.168.0.1",
        "0.0.0.0",
        "10.1.2.3:3000",
        "2130706433",
        "0x7f000001",
        "[::]",
        "[2001:db8::1]",
        "::1",
        "[::1",
        "[::1]evil.example",
        "host.docker.internal.evil.example",
        "localhos\xb5",
        ".",
        ":3000",
        "x" * 5000,
    ],
)
def test_a_name_that_may_have_been_rebound_to_this_machine_is_refused(
    runner: RunnerProcess, host: str
) -> None:
    before = newest_job(runner)

    assert run(runner, f"Host: {host}").refusal == (403, "FORBIDDEN_HOST")

    assert newest_job(runner) == before


@pytest.mark.parametrize("headers", [[], ["Host: localhost", "Host: evil.example"]])
def test_a_request_without_one_host_is_a_bad_request(
    runner: RunnerProcess, headers: Sequence[str]
) -> None:
    assert send(runner.url, "GET /healthz", headers).status == 400


@pytest.mark.parametrize(
    "target",
    ["http://evil.example/healthz", "http://me@localhost/healthz", "ftp://localhost/healthz", "*"],
)
def test_a_target_that_is_no_path_of_the_host_is_not_found(
    runner: RunnerProcess, target: str
) -> None:
    assert send(runner.url, f"GET {target}").refusal == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://localhost/healthz", "localhost"),
        ("HTTP://LocalHost:3000/healthz?x=http://evil.example", "localhost:3000"),
        ("https://[::1]/healthz", "[::1]"),
    ],
)
def test_a_target_may_be_a_whole_url(runner: RunnerProcess, target: str, host: str) -> None:
    assert send(runner.url, f"GET {target}", [f"Host: {host}"]).body == b'{"ok":true}'

    foreign = send(runner.url, f"GET {target}", ["Host: evil.example"])
    assert foreign.refusal == (403, "FORBIDDEN_HOST")


@pytest.mark.parametrize("path", ["/healthz", "/jobs/x", "/jobs/x/logs", "/nope"])
def test_every_route_refuses_a_foreign_host_and_origin(runner: RunnerProcess, path: str) -> None:
    foreign = ["Host: localhost", "Origin: http://evil.example"]

    assert send(runner.url, f"GET {path}", ["Host: evil"]).refusal == (403, "FORBIDDEN_HOST")
    assert send(runner.url, f"GET {path}", foreign).refusal == (403, "FORBIDDEN_ORIGIN")


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "https://localhost",
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://localhost.evil.example",
        "localhost",
        "file://",
        "chrome-extension://abcdef",
        "*",
        TOOLS,
    ],
)
def test_a_web_page_is_refused_unless_its_origin_is_configured(
    runner: RunnerProcess, origin: str
) -> None:
    before = newest_job(runner)

    assert run(runner, f"Origin: {origin}").refusal == (403, "FORBIDDEN_ORIGIN")

    assert newest_job(runner) == before


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost", "http://localhost"),
        ("LOCALHOST:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_the_pages_of_the_runner_itself_may_call_it(
    runner: RunnerProcess, host: str, origin: str
) -> None:
    assert run(runner, f"Host: {host}", f"Origin: {origin}").status == 200


def test_a_rebound_name_is_no_page_of_the_runner(runner: RunnerProcess) -> None:
    response = run(runner, "Host: evil.example:3000", "Origin: http://evil.example:3000")

    assert response.refusal == (403, "FORBIDDEN_HOST")


@pytest.mark.parametrize(
    "host",
    [
        "box.local",
        "BOX.local:3000",
        "box.local.",
        "xn--bcher-kva.example",
        "[fd00::1]",
        "localhost",
    ],
)
def test_a_configured_host_is_served(friendly: RunnerProcess, host: str) -> None:
    assert run(friendly, f"Host: {host}").status == 200


@pytest.mark.parametrize("host", ["box", "box.local.evil.example", "x.box.local"])
def test_no_other_host_is_served_then(friendly: RunnerProcess, host: str) -> None:
    assert run(friendly, f"Host: {host}").refusal == (403, "FORBIDDEN_HOST")


@pytest.mark.parametrize("origin", [TOOLS, "null"])
def test_a_configured_origin_may_run_scripts_and_read_the_response(
    friendly: RunnerProcess, origin: str
) -> None:
    response = run(friendly, f"Origin: {origin}")

    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origin", [f"{TOOLS}.evil.example", "http://tools.example", f"{TOOLS}:444", "", f"{TOOLS}/"]
)
def test_no_other_origin_may(friendly: RunnerProcess, origin: str) -> None:
    response = run(friendly, f"Origin: {origin}")

    assert response.refusal == (403, "FORBIDDEN_ORIGIN")
    assert "access-control-allow-origin" not in response.headers


def preflight(runner: RunnerProcess, origin: str) -> RawResponse:
    asked = ["Access-Control-Request-Method: POST"]
    asked += ["Access-Control-Request-Headers: authorization,content-type"]
    return send(runner.url, "OPTIONS /run", ["Host: localhost", f"Origin: {origin}", *asked])


def test_the_preflight_of_a_configured_origin_is_granted(friendly: RunnerProcess) -> None:
    response = preflight(friendly, TOOLS)

    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == TOOLS
    assert response.headers["access-control-allow-methods"] == "GET, POST"
    allowed = response.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "content-type"} <= set(allowed)


def test_the_browsers_question_for_any_other_origin_is_refused(friendly: RunnerProcess) -> None:
    assert preflight(friendly, "http://evil.example").refusal == (403, "FORBIDDEN_ORIGIN")


@pytest.mark.parametrize("written", ["https://Tools.Example", "https://tools.example/"])
def test_an_origin_is_configured_as_people_write_it(tmp_path: Path, written: str) -> None:
    with RunnerProcess(
        tmp_path, {"echo": "#!/bin/sh\n"}, server={"allowedOrigins": [written]}
    ) as runner:
        assert preflight(runner, TOOLS).status == 200
        assert run(runner, f"Origin: {TOOLS}").headers["access-control-allow-origin"] == TOOLS


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json, text/plain",
        "application/json\xe9",
        "json",
        "",
    ],
)
def test_a_body_that_is_not_declared_as_json_is_refused(
    runner: RunnerProcess, content_type: str
) -> None:
    before = newest_job(runner)
    for path in ("/run", "/jobs/x/cancel", "/nope"):
        headers = ["Host: localhost", f"Content-Type: {content_type}"]
        headers += [f"Content-Length: {len(RUN)}"]

        response = send(runner.url, f"POST {path}", headers, RUN)

        assert response.refusal == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert newest_job(runner) == before


@pytest.mark.parametrize("framing", ["Content-Length: 2", "Transfer-Encoding: chunked"])
def test_a_body_of_no_type_is_refused(runner: RunnerProcess, framing: str) -> None:
    body = b"{}" if "Length" in framing else b"2\r\n{}\r\n0\r\n\r\n"

    response = send(runner.url, "POST /run", ["Host: localhost", framing], body)

    assert response.refusal == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;charset=UTF-8"],
)
def test_a_content_type_may_have_parameters(runner: RunnerProcess, content_type: str) -> None:
    headers = ["Host: localhost", f"Content-Type: {content_type}", f"Content-Length: {len(RUN)}"]

    assert send(runner.url, "POST /run", headers, RUN).status == 200


@pytest.mark.parametrize("framing", [[], ["Content-Length: 0"]])
def test_a_cancel_without_a_body_needs_no_content_type(
    runner: RunnerProcess, framing: Sequence[str]
) -> None:
    response = send(runner.url, "POST /jobs/nope/cancel", ["Host: localhost", *framing])

    assert response.refusal == (404, "JOB_NOT_FOUND")


@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_an_upgrade_to_websocket_is_a_request_like_any_other(
    runner: RunnerProcess, host: str
) -> None:
    headers = [f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
    headers += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]

    response = send(runner.url, "GET /run", headers)

    expected = (404, "NOT_FOUND") if host == "localhost" else (403, "FORBIDDEN_HOST")
    assert response.refusal == expected
