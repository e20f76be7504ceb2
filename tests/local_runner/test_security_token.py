"""The token: who has none gets nothing, and the token itself is seen nowhere."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.served import serving
from tests.local_runner.talk import TAP, Tap, send
from tests.support.processes import processes_of

TOKEN = "s3cret-Tökén:with=all/kinds+of"
WANTED = ['Basic realm="script-runner"', "Bearer"]

ROUTES = [
    "GET /healthz",
    "POST /run",
    "GET /jobs/x",
    "GET /jobs/x/logs",
    "POST /jobs/x/cancel",
    "GET /nope",
    "PUT /run",
    "HEAD /healthz",
    "OPTIONS /run",
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("token"),
        {"environment": "#!/bin/sh\nenv\nsh -c env >&2\n", "tap": TAP},
        environment={"SCRIPT_RUNNER_TOKEN": TOKEN},
    ) as started:
        started.http.headers["Authorization"] = basic("any", TOKEN)
        yield started


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def utf_8(header: str) -> str:
    """A header line that `send` sends as UTF-8."""
    return header.encode().decode("latin-1")


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_wants_the_token(runner: RunnerProcess, route: str) -> None:
    response = send(runner.url, route)

    assert response.status == 401
    assert response.headers.get_all("www-authenticate") == WANTED
    if not route.startswith("HEAD"):
        assert response.refusal == (401, "UNAUTHORIZED")
        assert b"this runner wants its token: send it as the " in response.body


@pytest.mark.parametrize(
    "authorization",
    [
        basic("any", TOKEN),
        basic("", TOKEN),
        basic("other", TOKEN).replace("Basic", "bASIC"),
        basic("any", TOKEN).replace(" ", "  "),
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
        f"BEARER   {TOKEN}  ",
    ],
)
def test_the_token_is_the_basic_password_or_the_bearer_token(
    runner: RunnerProcess, authorization: str
) -> None:
    header = utf_8(f"Authorization: {authorization}")

    response = send(runner.url, "GET /healthz", ["Host: localhost", header])

    assert (response.status, response.body) == (200, b'{"ok":true}')


@pytest.mark.parametrize("letter", "\u00e0\u00c5\u2003")
def test_a_token_may_begin_and_end_with_any_letter(tmp_path: Path, letter: str) -> None:
    """The UTF-8 of each of them has a byte that is a space in other encodings."""
    token = f"{letter}secret{letter}"
    with RunnerProcess(
        tmp_path, {"echo": "#!/bin/sh\n"}, environment={"SCRIPT_RUNNER_TOKEN": token}
    ) as runner:
        for right in (f"Bearer {token}", f"Bearer \t{token} ", basic("any", token)):
            headers = ["Host: localhost", utf_8(f"Authorization: {right}")]
            assert send(runner.url, "GET /healthz", headers).status == 200
        wrong = ["Host: localhost", "Authorization: Bearer secret"]
        assert send(runner.url, "GET /healthz", wrong).status == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Bearer",
        "Bearer ",
        "Bearer \t",
        TOKEN,
        f"Token {TOKEN}",
        f"Bearer{TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN},",
        f"Bearer wrong, Bearer {TOKEN}",
        "Bearer \xff\xfe",
        "Bearer 日志",
        basic(TOKEN, ""),
        basic(TOKEN, "wrong"),
        basic("any", f"{TOKEN} "),
        basic("any", TOKEN.partition(":")[0]),
        basic("any", TOKEN)[:-2],
        "Basic " + base64.b64encode(TOKEN.encode()).decode(),
        "Basic " + base64.b64encode(f"any:{TOKEN}".encode("utf-16")).decode(),
        "Basic not base64!",
        "Basic \xff",
        f"Basic any:{TOKEN}",
    ],
)
def test_anything_else_is_refused_without_a_word_of_the_token(
    runner: RunnerProcess, authorization: str
) -> None:
    header = utf_8(f"Authorization: {authorization}")

    response = send(runner.url, "GET /healthz", ["Host: localhost", header])

    assert response.refusal == (401, "UNAUTHORIZED")
    assert response.headers.get_all("www-authenticate") == WANTED
    assert b"the token is not that of this runner: send it as the " in response.body
    assert TOKEN not in response.body.decode()


async def test_the_token_is_compared_in_constant_time_and_in_no_other_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    verdicts = iter([True, False])

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return next(verdicts)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    statuses = []
    async with serving(tmp_path, {}, token="right") as served:
        for sent in (b"wrong", b"right"):
            head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            caller = await served.call(head + sent + b"\r\n\r\n")
            statuses.append((await caller.response())[0])

    # What the comparison says counts, and nothing else.
    assert statuses == [200, 401]
    assert compared == [(b"right", b"wrong"), (b"right", b"right")]


def test_a_url_with_the_token_in_it_is_all_a_client_needs(runner: RunnerProcess) -> None:
    url = httpx.URL(runner.url, username="me", password=TOKEN)

    assert httpx.get(url.join("/healthz"), trust_env=False).status_code == 200


def test_host_and_origin_are_checked_before_the_token(runner: RunnerProcess) -> None:
    header = utf_8(f"Authorization: Bearer {TOKEN}")

    foreign = send(runner.url, "GET /healthz", ["Host: evil.example", header])
    page = send(runner.url, "GET /healthz", ["Host: localhost", "Origin: null", header])

    assert foreign.refusal == (403, "FORBIDDEN_HOST")
    assert page.refusal == (403, "FORBIDDEN_ORIGIN")


def test_a_body_of_any_size_or_type_is_not_looked_at_without_the_token(
    runner: RunnerProcess,
) -> None:
    headers = ["Host: localhost", "Content-Type: text/plain", "Content-Length: 3000000"]

    assert send(runner.url, "POST /run", headers, b"x" * 3_000_000).refusal[0] == 401


def test_a_script_and_what_it_starts_do_not_have_the_token(runner: RunnerProcess) -> None:
    job = runner.run("environment")

    for printed in (job["stdoutPreview"], job["stderrPreview"]):
        assert f"SCRIPT_RUNNER_JOB_ID={job['jobId']}\n" in printed
        assert "SCRIPT_RUNNER_TOKEN" not in printed
        assert TOKEN not in printed


def test_the_token_is_in_no_command_line_and_in_no_process_of_a_job(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        processes = wait_until(lambda: processes_of(job_id))
        assert [process.pid for process in processes if TOKEN in str(process.environ())] == []
        lines = [
            " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        ]
        assert [line for line in lines if TOKEN in line] == []
        tap.write(b"x")


def test_the_log_and_the_files_of_the_runner_never_have_the_token(
    tmp_path: Path,
) -> None:
    with RunnerProcess(
        tmp_path, {"environment": "#!/bin/sh\nenv\n"}, environment={"SCRIPT_RUNNER_TOKEN": TOKEN}
    ) as runner:
        runner.http.headers["Authorization"] = basic("any", TOKEN)
        runner.run("environment")
        for authorization in (f"Bearer {TOKEN}", f"Bearer {TOKEN}x", basic(TOKEN, "")):
            header = utf_8(f"Authorization: {authorization}")
            send(runner.url, "GET /jobs/x?token=x", ["Host: localhost", header])
        send(runner.url, "nonsense", [utf_8(f"Authorization: Bearer {TOKEN}")])
    written = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert len(runner.events) > 5
    assert TOKEN not in json.dumps(runner.events, ensure_ascii=False)
    assert [path.name for path in written if TOKEN.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("query", ["token=in-the-query", "access_token=in-the-query"])
def test_a_query_is_not_logged(runner: RunnerProcess, query: str) -> None:
    runner.http.get(f"/jobs/x/logs?{query}")

    events = runner.logged()
    assert any(event.get("path") == "/jobs/x/logs" for event in events)
    assert "in-the-query" not in json.dumps(events)
