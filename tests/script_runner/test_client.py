"""`connect`: one runner for each URL, what a URL may look like, and what becomes of its parts."""

from __future__ import annotations

import base64
import gc
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner import InvalidInput, Runner, ScriptRunnerError, client, connect
from script_runner.address import checked_url
from tests.script_runner.documented import documented, documented_job
from tests.support.misbehaving_server import Action, MisbehavingServer, http_answer, json_answer
from tests.support.waiting import wait_until

JOB = json_answer(200, documented("getJob", "succeeded"))


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    """A server that answers each request with a job."""
    with MisbehavingServer(lambda _: [JOB]) as server:
        yield server


def test_the_same_url_is_the_same_runner() -> None:
    assert connect("http://127.0.0.1:4000/tools") is connect("http://127.0.0.1:4000/tools")
    assert connect("http://127.0.0.1:4000/tools") is not connect("http://127.0.0.1:4000/other")


@pytest.mark.parametrize(
    "url", ["http://LOCALHOST:4001", "http://localhost:4001/", " http://localhost:4001\n"]
)
def test_another_way_to_write_a_url_is_the_same_runner(url: str) -> None:
    assert connect(url) is connect("http://localhost:4001")


def test_other_credentials_are_another_runner() -> None:
    assert connect("http://any:one@localhost:4001") is not connect("http://any:two@localhost:4001")


def test_the_url_is_that_of_the_local_runner_by_default() -> None:
    assert connect().url == "http://localhost:3000"


def test_threads_that_connect_at_once_get_the_same_runner() -> None:
    with ThreadPoolExecutor(30) as threads:
        runners = set(threads.map(connect, ["http://127.0.0.1:4002"] * 60))
    assert len(runners) == 1


def test_only_the_runners_used_last_are_kept() -> None:
    assert client._connect.cache_info().maxsize == client.MAX_RUNNERS


def test_a_runner_that_is_not_kept_closes_its_connections(server: MisbehavingServer) -> None:
    Runner(checked_url(server.url)).call(get_job, "job_1")
    gc.collect()
    wait_until(lambda: not server.open_connections)


SECRET_URLS = {
    "a slash in the password": "http://anyone:s3/cret@localhost:3000",
    "a slash in a password of digits": "http://anyone:12/s3cret@localhost:3000",
    "a question mark in the password": "http://anyone:s3?cret@localhost:3000",
    "a hash in the password": "http://anyone:s3#cret@localhost:3000",
    "credentials without a scheme": "s3cret:x@localhost:3000",
    "credentials and a port that is none": "http://anyone:s3cret@localhost:port",
    "credentials and a query": "http://anyone:s3cret@localhost:3000/?a=b",
}
BAD_URLS: dict[str, object] = SECRET_URLS | {
    "nothing": "",
    "spaces": "   ",
    "no scheme": "localhost:3000",
    "a host alone": "localhost",
    "a path alone": "/jobs",
    "a relative scheme": "//localhost:3000",
    "a file": "file:///etc/passwd",
    "ftp": "ftp://localhost:3000",
    "a web socket": "ws://localhost:3000",
    "javascript": "javascript:alert(1)",
    "a scheme alone": "http://",
    "no host": "http:///jobs",
    "a port alone": "http://:3000",
    "one slash": "http:/localhost:3000",
    "no port in words": "http://localhost:three",
    "a port that is too large": "http://localhost:65536",
    "a port of zero": "http://localhost:0",
    "a negative port": "http://localhost:-1",
    "an empty part of a name": "http://a..b:3000",
    "a part of a name that is too long": f"http://{'a' * 64}.example",
    "no international name": "http://xn--a",
    "a bracket": "http://[::1",
    "a space in the host": "http://local host:3000",
    "a line break": "http://localhost\n.example:3000",
    "a control character": "http://localhost\x00:3000",
    "half a surrogate pair": "http://\ud800:3000",
    "a query": "http://localhost:3000/?a=b",
    "an empty query": "http://localhost:3000/?",
    "a fragment": "http://localhost:3000/#top",
    "no text but null": None,
    "no text but a number": 3000,
    "no text but a list": ["http://localhost:3000"],
    "no text but bytes": b"http://localhost:3000",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_is_an_invalid_input(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"script_runner_url must be a URL such as http://"):
        connect(url)


@pytest.mark.parametrize("port", ["\u0663", "3_0", "+80", " 80", "-1", "0", "65536", "80x"])
def test_a_port_that_is_no_plain_number_is_an_invalid_input(port: str) -> None:
    for host in ("localhost", "any:p@localhost", "[::1]"):
        with pytest.raises(InvalidInput, match=r"script_runner_url must be a URL such as http://"):
            connect(f"http://{host}:{port}/tools")


@pytest.mark.parametrize("url", SECRET_URLS.values(), ids=SECRET_URLS)
def test_nothing_of_a_bad_url_is_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert not [part for part in ("s3", "cret", "anyone") if part in shown]


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", "/jobs/job_1"),
        ("/", "/jobs/job_1"),
        ("/tools", "/tools/jobs/job_1"),
        ("/tools/runner/", "/tools/runner/jobs/job_1"),
        ("/a%2Fb", "/a%2Fb/jobs/job_1"),
        ("/a%3Fb%20c", "/a%3Fb%20c/jobs/job_1"),
        ("/a%40b", "/a%40b/jobs/job_1"),
        ("/日", "/%E6%97%A5/jobs/job_1"),
    ],
)
def test_the_prefix_of_a_url_is_kept(server: MisbehavingServer, prefix: str, path: str) -> None:
    connect(server.url + prefix).call(get_job, "job_1")
    assert server.requests[0].target == path


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("any:s3cret", "any:s3cret"),
        (":s3cret", ":s3cret"),
        ("s3cret", "s3cret:"),
        ("any:p%40ss%2Fw%C3%B6rd%3A%25", "any:p@ss/wörd:%"),
        ("any:p@ss", "any:p@ss"),
    ],
)
def test_credentials_go_out_as_basic_authorization(
    server: MisbehavingServer, userinfo: str, credentials: str
) -> None:
    connect(f"http://{userinfo}@127.0.0.1:{server.port}").call(get_job, "job_1")
    scheme, _, value = server.requests[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", credentials)
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_without_credentials_there_is_no_authorization(server: MisbehavingServer) -> None:
    connect(server.url).call(get_job, "job_1")
    assert "authorization" not in server.requests[0].headers


FAILURES = {
    "unauthorized": [json_answer(401, documented("getJob", "unauthorized"))],
    "no error of the API": [http_answer(502, b"<html>")],
    "not JSON": [http_answer(200, b"<html>")],
    "a field is missing": [json_answer(200, {"ok": True})],
    "a redirect": [http_answer(302, b"", "Location: http://127.0.0.1:9/")],
    "cut off": [http_answer(200, b"{", length=9), Action.CLOSE],
    "no answer": [Action.RESET],
}


@pytest.mark.parametrize("steps", FAILURES.values(), ids=FAILURES)
def test_credentials_are_not_shown_when_a_call_fails(
    steps: list[bytes | Action], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with MisbehavingServer(lambda _: steps) as server:
        runner = connect(f"http://anyone:s3cret@127.0.0.1:{server.port}")
        with pytest.raises(ScriptRunnerError) as caught:
            runner.call(get_job, "job_1")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(runner)
    assert f"http://127.0.0.1:{server.port}" in str(caught.value)
    encoded = base64.b64encode(b"anyone:s3cret").decode()
    assert not [secret for secret in ("s3cret", "anyone", encoded) if secret in shown]


def test_the_repr_of_a_runner_is_its_url_without_credentials() -> None:
    runner = connect("http://anyone:s3cret@runner.example:3000/tools/")
    assert repr(runner) == "Runner('http://runner.example:3000/tools')"
    assert runner.url == "http://runner.example:3000/tools"


RUN = RunRequest("quick-echo", args=["a b", "日"], mode="async")
CALLS: dict[str, tuple[Callable[[Runner], object], str]] = {
    "run": (
        lambda runner: runner.call(run_script, body=RUN, returns=AcceptedJob),
        "POST /run",
    ),
    "get": (lambda runner: runner.call(get_job, "job_1"), "GET /jobs/job_1"),
    "get with an odd id": (
        lambda runner: runner.call(get_job, "a/b ?#%日"),
        "GET /jobs/a%2Fb%20%3F%23%25%E6%97%A5",
    ),
    "logs": (
        lambda runner: runner.call(get_job_logs, "job_1", stream="stderr", offset=7, limit=4096),
        "GET /jobs/job_1/logs?stream=stderr&offset=7&limit=4096",
    ),
    "cancel": (lambda runner: runner.call(cancel_job, "job_1"), "POST /jobs/job_1/cancel"),
}
ANSWERS = {
    "POST /run": json_answer(202, documented("runScript", "running")),
    "GET /jobs/job_1/logs?": json_answer(200, documented("getJobLogs", "whole")),
}


@pytest.mark.parametrize(("call", "line"), CALLS.values(), ids=CALLS)
def test_a_call_sends_one_request(call: Callable[[Runner], object], line: str) -> None:
    answer = next((answer for begin, answer in ANSWERS.items() if line.startswith(begin)), JOB)
    with MisbehavingServer(lambda _: [answer]) as server:
        call(connect(server.url))
    assert [f"{request.method} {request.target}" for request in server.requests] == [line]
    assert server.requests[0].headers["accept"] == "application/json"
    assert server.requests[0].headers["accept-encoding"] == "identity"


def test_a_run_is_sent_as_json() -> None:
    accepted = documented("runScript", "running")
    with MisbehavingServer(lambda _: [json_answer(202, accepted)]) as server:
        returned = connect(server.url).call(run_script, body=RUN, returns=AcceptedJob)
    assert returned == AcceptedJob.from_dict(accepted)
    assert server.requests[0].headers["content-type"] == "application/json"
    assert json.loads(server.requests[0].body) == {
        "scriptId": "quick-echo",
        "args": ["a b", "日"],
        "mode": "async",
    }


def test_an_answer_is_returned_as_its_model(server: MisbehavingServer) -> None:
    assert connect(server.url).call(get_job, "job_1") == documented_job()


def test_a_field_that_is_not_described_is_no_error() -> None:
    body = documented("getJob", "succeeded") | {"later": {"added": [1]}}
    with MisbehavingServer(lambda _: [json_answer(200, body)]) as server:
        job = connect(server.url).call(get_job, "job_1")
    assert job.additional_properties == {"later": {"added": [1]}}


UNSENDABLE = {
    "half a surrogate pair in an id": lambda runner: runner.call(get_job, "\ud800"),
    "half a surrogate pair in an argument": lambda runner: runner.call(
        run_script, body=RunRequest("a", args=["\ud800"])
    ),
    "an id longer than a URL": lambda runner: runner.call(get_job, "x" * 70_000),
}


@pytest.mark.parametrize("call", UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_sent_is_an_invalid_input(
    server: MisbehavingServer, call: Callable[[Runner], object]
) -> None:
    with pytest.raises(InvalidInput, match=f"at {server.url}: this cannot be sent") as caught:
        call(connect(server.url))
    assert len(str(caught.value)) < 1000
    assert server.connections == 0


def test_an_operation_called_wrong_is_a_type_error(server: MisbehavingServer) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'job'"):
        connect(server.url).call(get_job, job="job_1")
    assert server.connections == 0


@pytest.mark.parametrize("cookie", ["session=1; Path=/", "session=\xff"])
def test_a_cookie_is_not_sent_back(cookie: str) -> None:
    body = json.dumps(documented("getJob", "succeeded")).encode()
    answer = http_answer(200, body, f"Set-Cookie: {cookie}")
    with MisbehavingServer(lambda _: [answer]) as server:
        for _ in range(2):
            connect(server.url).call(get_job, "job_1")
    assert ["cookie" in request.headers for request in server.requests] == [False, False]
