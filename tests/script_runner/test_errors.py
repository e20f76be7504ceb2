"""What can come in place of a response: which error it is, and what its message says."""

from __future__ import annotations

import base64
import errno
import gc
import gzip
import inspect
import logging
import os
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, Job, RunRequest
from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunner,
    ScriptRunnerError,
    WaitTimedOut,
    connect,
)
from tests.script_runner.documented import documented
from tests.script_runner.log_strategies import QUICK
from tests.script_runner.verbs import Connected, clients
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Step,
    http_response,
    json_response,
)
from tests.support.prism_client import preferring
from tests.support.spec import DescribedResponse, described_responses, load

JOB_ID = documented("getJob", "succeeded")["jobId"]
RUN = RunRequest("quick-echo")
JOB = json_response(200, documented("getJob", "succeeded"))
IS_IT = "Is this the URL of a script-runner?"
TRY_AGAIN = "Did the runner stop or restart? Try again."
CHECK_URL = "This came from something other than script-runner: check the URL."
MAY_RUN = "The script may have been started: look at the runner's jobs before you run it again."
PROXY_LOST = "A proxy lost the runner behind it: is it running? Try again."
HTML = "<!DOCTYPE html>\n<html>\n  <body>Welcome to nginx!</body>\n</html>\n"
CLOSED = "RemoteProtocolError: Server disconnected without sending a response."
RESET = f"ReadError: [Errno {errno.ECONNRESET}] {os.strerror(errno.ECONNRESET)}"


def test_the_errors_are_one_family() -> None:
    for error in (RunnerUnreachable, RequestTimedOut, RequestRejected, InvalidResponse):
        assert error.__mro__[:2] == (error, ScriptRunnerError)
    assert InvalidInput.__mro__[:3] == (InvalidInput, ScriptRunnerError, ValueError)
    assert WaitTimedOut.__mro__[:2] == (WaitTimedOut, RequestTimedOut)


def message(
    steps: list[Step],
    error: type[ScriptRunnerError],
    call: Callable[[ScriptRunner], object],
    prefix: str = "",
) -> str:
    """What a call says that a server responds to with these steps, without the URL."""
    with MisbehavingServer(lambda _: steps) as server:
        with pytest.raises(error) as caught:
            call(connect(server.url + prefix))
        assert type(caught.value) is error
        return str(caught.value).replace(server.url, "URL")


def get(runner: ScriptRunner) -> Job:
    return runner.call(get_job, JOB_ID)


def run(runner: ScriptRunner) -> Job:
    return runner.call(run_script, body=RUN, returns=Job)


# -- no response, or half of one


def lost(cause: str) -> str:
    return f"the connection was lost before a response came ({cause}). "


NO_RESPONSE: dict[str, tuple[list[Step], str]] = {
    "closed": ([Action.CLOSE], lost(CLOSED)),
    "reset": ([Action.RESET], lost(RESET)),
    "reset in the head": ([JOB[:30], Action.RESET], lost(RESET)),
    "closed in the head": ([JOB[:30], Action.CLOSE], lost(CLOSED)),
}


@pytest.mark.parametrize(("steps", "said"), NO_RESPONSE.values(), ids=NO_RESPONSE)
def test_a_connection_without_a_response_is_an_unreachable_runner(
    steps: list[Step], said: str
) -> None:
    asked = f"GET /jobs/{JOB_ID} at URL: "
    assert message(steps, RunnerUnreachable, get) == f"{asked}{said}{TRY_AGAIN}"
    assert message(steps, RunnerUnreachable, run) == f"POST /run at URL: {said}{MAY_RUN}"


ASYNC: list[tuple[list[Step], type[ScriptRunnerError], str]] = [
    ([Action.CLOSE], RunnerUnreachable, lost(CLOSED) + TRY_AGAIN),
    ([JOB[:-9], Action.CLOSE], InvalidResponse, r"response 200 was cut off"),
    ([b"+OK\r\n\r\n"], InvalidResponse, "what came is not an HTTP response"),
    ([http_response(502, b"<p>")], RequestRejected, '502 no error of script-runner ("<p>")'),
]


@pytest.mark.parametrize(("steps", "error", "said"), ASYNC)
def test_of_asyncio_the_errors_are_the_same(
    steps: list[Step], error: type[ScriptRunnerError], said: str
) -> None:
    with clients("asyncio") as connected, MisbehavingServer(lambda _: steps) as server:
        with pytest.raises(error) as caught:
            connected(server.url).status("job_1")
        assert f"GET /jobs/job_1 at {server.url}: {said}" in str(caught.value)


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"+OK Redis\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        http_response(101, b"", "Upgrade: websocket", "Connection: Upgrade"),
    ],
)
def test_a_response_that_is_not_http_is_an_invalid_response(response: bytes) -> None:
    said = message([response], InvalidResponse, get)
    begin = f"GET /jobs/{JOB_ID} at URL: what came is not an HTTP response (RemoteProtocolError: "
    assert said.startswith(begin)
    assert said.endswith(f"). {IS_IT}")


BODY = JOB.partition(b"\r\n\r\n")[2]
CUT = (
    "RemoteProtocolError: peer closed connection without sending complete message body "
    f"(received {len(BODY) - 9} bytes, expected {len(BODY)})"
)


@pytest.mark.parametrize(("end", "cause"), [(Action.CLOSE, CUT), (Action.RESET, RESET)])
def test_a_response_that_is_cut_off_is_an_invalid_response(end: Action, cause: str) -> None:
    said = f"response 200 was cut off ({cause}). "
    asked = f"GET /jobs/{JOB_ID} at URL: "
    assert message([JOB[:-9], end], InvalidResponse, get) == f"{asked}{said}{TRY_AGAIN}"
    assert message([JOB[:-9], end], InvalidResponse, run) == f"POST /run at URL: {said}{MAY_RUN}"


def test_only_a_run_can_have_started_a_script() -> None:
    for call in (get_job, cancel_job):
        for job_id in ("x/run", "run"):
            said = message([Action.CLOSE], RunnerUnreachable, lambda r: r.call(call, job_id))  # noqa: B023
            assert said.endswith(TRY_AGAIN)
    for prefix in ("/tools", "/jobs"):
        assert message([Action.CLOSE], RunnerUnreachable, run, prefix).endswith(MAY_RUN)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.1:1", " Inside a container use http://host.docker.internal:1."),
        ("http://[::1]:1", " Inside a container use http://host.docker.internal:1."),
        ("http://localhost:1/a", " Inside a container use http://host.docker.internal:1."),
        ("http://nowhere.example:1", ""),
        ("http://host.docker.internal:1", ""),
    ],
)
def test_the_hint_about_containers_is_for_this_machine(
    url: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def nothing_else(host: str, *rest: Any, **more: Any) -> Any:
        if host in ("localhost", "127.0.0.1", "::1"):
            return real(host, *rest, **more)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing_else)
    with pytest.raises(RunnerUnreachable) as caught:
        connect(url).status("job_1")
    assert str(caught.value).endswith(f"). Is script-runner running there?{hint}")


# -- a response that makes no sense

NESTED = b"[" * 100_000
UNUSABLE: dict[str, tuple[bytes, str]] = {
    "empty": (http_response(200), "response 200 is not JSON (empty)"),
    "HTML": (
        http_response(200, HTML.encode(), "Content-Type: text/html"),
        'response 200 is not JSON ("<!DOCTYPE html> <html> <body>Welcome to nginx!</body></html>")',
    ),
    "long": (http_response(200, b"y" * 999), f'response 200 is not JSON ("{"y" * 200}…")'),
    "half": (http_response(200, b'{"ok": true'), 'response 200 is not JSON ("{"ok": true")'),
    "a list": (json_response(200, []), 'response 200 is not a JSON object ("[]")'),
    "a list of pairs": (
        json_response(200, [["ok", True]]),
        'response 200 is not a JSON object ("[["ok", true]]")',
    ),
    "a text": (json_response(200, "job"), 'response 200 is not a JSON object (""job"")'),
    "null": (json_response(200, None), 'response 200 is not a JSON object ("null")'),
    "an object": (json_response(200, {}), 'response 200 lacks the field ok ("{}")'),
    "invalid UTF-8": (http_response(200, b'"\xff"'), 'response 200 is not JSON (""\ufffd"")'),
    "nested deep": (http_response(200, NESTED), f'response 200 is not JSON ("{"[" * 200}…")'),
    "a number of 5000 digits": (
        http_response(200, b"1" * 5000),
        f'response 200 is not JSON ("{"1" * 200}…")',
    ),
    "a charset that is none": (
        http_response(200, b"<p>", "Content-Type: text/html; charset=hex"),
        'response 200 is not JSON ("<p>")',
    ),
    "bad gzip": (
        http_response(200, b"{}", "Content-Encoding: gzip"),
        "response 200 is not the gzip it says it is",
    ),
    "no content": (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        "response 204 is not a response of script-runner (empty)",
    ),
    "another 2xx": (
        json_response(201, {"id": 1}),
        'response 201 is not a response of script-runner ("{"id": 1}")',
    ),
    "a 2xx that is no status": (http_response(299, b"<p>"), 'response 299 is not JSON ("<p>")'),
}  # fmt: skip


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Collect no garbage: the finalizers of other tests fail where a parser has recursed deep."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(("response", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_response_that_is_no_job_is_an_invalid_response(response: bytes, said: str) -> None:
    shown = message([response], InvalidResponse, get)
    assert shown.replace("</body> <", "</body><") == f"GET /jobs/{JOB_ID} at URL: {said}. {IS_IT}"
    assert message([response], InvalidResponse, run).startswith("POST /run at URL: ")


def test_a_response_that_is_packed_although_that_was_not_asked_for_is_read(
    connected: Connected,
) -> None:
    packed = http_response(200, gzip.compress(BODY), "Content-Encoding: gzip")
    with MisbehavingServer(lambda _: [packed]) as server:
        assert connected(server.url).status(JOB_ID).code == 0


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/", "/other", "mailto:x", "http://[", ""])
def test_a_redirect_is_not_followed(location: str) -> None:
    for status in (301, 302, 303, 307, 308):
        response = http_response(status, b"moved", f"Location: {location}")
        assert message([response], InvalidResponse, get) == (
            f"GET /jobs/{JOB_ID} at URL: response {status} is not a response of script-runner "
            '("moved"). Redirects are not followed: use the URL that responds itself.'
        )


# -- each field of each response, missing or of a wrong type

SCHEMAS = load()["components"]["schemas"]
WRONG: dict[str, object] = {
    "null": None,
    "boolean": True,
    "integer": 5,
    "number": 1.5,
    "string": "text",
    "array": [],
    "object": {},
}
"""A value of each JSON type."""

Call = Callable[[ScriptRunner], object]
BODIES: dict[str, tuple[Call, int, dict[str, Any]]] = {
    "Job": (get, 200, documented("getJob", "succeeded")),
    "LogPage": (
        lambda runner: runner.call(get_job_logs, JOB_ID, stream="stdout"),
        200,
        documented("getJobLogs", "whole") | {"jobId": JOB_ID},
    ),
    "AcceptedJob": (
        lambda runner: runner.call(run_script, body=RUN, returns=AcceptedJob),
        202,
        documented("runScript", "running"),
    ),
}


def types_of(field: dict[str, Any]) -> list[str]:
    """The types that the spec names for a field, as it names them."""
    if "$ref" in field:
        return types_of(SCHEMAS[field["$ref"].rpartition("/")[2]])
    types = [field["type"]] if isinstance(field["type"], str) else list(field["type"])
    is_time = field.get("format") == "date-time"
    return ["date-time" if each == "string" and is_time else each for each in types]


@pytest.fixture(scope="module")
def responding() -> Iterator[tuple[MisbehavingServer, list[Step]]]:
    """A server, and what it responds with, which can be changed."""
    steps: list[Step] = []
    with MisbehavingServer(lambda _: list(steps)) as server:
        yield server, steps


@pytest.mark.parametrize("schema", BODIES)
def test_a_field_that_is_missing_or_of_a_wrong_type_is_named_as_on_the_wire(
    responding: tuple[MisbehavingServer, list[Step]], schema: str
) -> None:
    server, steps = responding
    call, status, body = BODIES[schema]
    assert set(body) == set(SCHEMAS[schema]["required"]) == set(SCHEMAS[schema]["properties"])

    def said(changed: dict[str, Any]) -> str:
        steps[:] = [json_response(status, changed)]
        with pytest.raises(InvalidResponse) as caught:
            call(connect(server.url))
        return str(caught.value)

    steps[:] = [json_response(status, body)]
    assert type(call(connect(server.url))).__name__ == schema
    for name, field in SCHEMAS[schema]["properties"].items():
        without = {key: value for key, value in body.items() if key != name}
        assert f": response {status} lacks the field {name} (" in said(without)
        wanted = types_of(field)
        for kind, value in WRONG.items():
            if kind in wanted or (kind == "integer" and "number" in wanted):
                continue
            shown = said(body | {name: value})
            assert f": response {status} is not as described: " in shown
            if name != "createdAt":
                # The generated client reads it, before anything else can.
                assert f"field {name} should be {' or '.join(wanted)}, is {kind} " in shown, shown


@pytest.mark.parametrize("name", ["status", "stdoutPreview", "jobId"])
def test_half_a_surrogate_pair_is_an_invalid_response(name: str) -> None:
    body = documented("getJob", "succeeded") | {name: "a\ud83d"}
    said = message([json_response(200, body)], InvalidResponse, get)
    assert re.search("is not as described: .*surrogates not allowed", said)


# -- HTTP errors

CALLS: dict[str, tuple[Call, str]] = {
    "runScript": (run, "POST /run"),
    "getJob": (get, f"GET /jobs/{JOB_ID}"),
    "getJobLogs": (
        lambda runner: runner.call(get_job_logs, JOB_ID),
        f"GET /jobs/{JOB_ID}/logs?stream=stdout&offset=0&limit=65536",
    ),
    "cancelJob": (lambda runner: runner.call(cancel_job, JOB_ID), f"POST /jobs/{JOB_ID}/cancel"),
}
HINTS = {
    "SCRIPT_NOT_FOUND": " Script ids are those of the runner's scripts.json.",
    "INVALID_ARGS": " Which arguments a script takes is written in the runner's scripts.json.",
    "JOB_NOT_FOUND": " The runner may have forgotten an old job, or this is another runner's job.",
    "NOT_FOUND": " Is this the URL of a script-runner, with nothing missing or added?",
    "UNAUTHORIZED": " Pass the runner's token: token=TOKEN, or http://any:TOKEN@HOST:PORT.",
    "INTERNAL_ERROR": " The runner's own log says more.",
    "BODY_TOO_LARGE": " Pass large data in a file, not in arguments.",
    # The sentence of the runner says what to do.
    "UNAVAILABLE": "",
    "FORBIDDEN_HOST": "",
    "FORBIDDEN_ORIGIN": "",
    "UNSUPPORTED_MEDIA_TYPE": "",
}
DOCUMENTED = [response for response in described_responses() if response.schema == "Error"]


def parts_of(error: RequestRejected) -> tuple[int, str | None, str | None]:
    """The parts of the response that an error has."""
    return error.status_code, error.code, error.message


@pytest.mark.parametrize("response", DOCUMENTED, ids=str)
def test_a_documented_error_is_raised_with_its_parts(
    mock_url: str, response: DescribedResponse
) -> None:
    call, line = CALLS[response.operation]
    with (
        preferring(mock_url, lambda _: response.prefer) as server,
        pytest.raises(RequestRejected) as caught,
    ):
        call(connect(server.url))
    said = response.body["error"]
    assert parts_of(caught.value) == (response.status, said["code"], said["message"])
    # Of a parameter that is wrong the runner says all there is to say.
    hint = "" if response.example == "unknown-stream" else HINTS[said["code"]]
    assert str(caught.value) == (
        f"{line} at {server.url}: {response.status} {said['code']}: {said['message']}.{hint}"
    )


def test_every_documented_code_has_been_seen() -> None:
    assert {response.body["error"]["code"] for response in DOCUMENTED} == set(HINTS)


@pytest.mark.parametrize("status", [400, 402, 418, 429, 499, 500, 502, 504, 599])
def test_an_error_at_a_status_that_is_not_documented_has_its_parts_too(status: int) -> None:
    body = {"ok": False, "error": {"code": "LATER", "message": "added later"}}
    hint = "" if status < 500 else " The runner's own log says more."
    said = message([json_response(status, body)], RequestRejected, get)
    assert said == f"GET /jobs/{JOB_ID} at URL: {status} LATER: added later.{hint}"


@pytest.mark.parametrize(
    ("status", "hint", "hint_of_run"),
    [
        (401, HINTS["UNAUTHORIZED"][1:], None),
        (404, HINTS["NOT_FOUND"][1:], None),
        (407, "The proxy of the environment (HTTP_PROXY) wants credentials.", None),
        (403, CHECK_URL, None),
        (500, CHECK_URL, None),
        (502, PROXY_LOST, MAY_RUN),
        (503, PROXY_LOST, MAY_RUN),
        (504, PROXY_LOST, MAY_RUN),
        (524, PROXY_LOST, MAY_RUN),
    ],
)
def test_an_error_of_something_else_says_what_to_do(
    status: int, hint: str, hint_of_run: str | None
) -> None:
    response = http_response(status, HTML.encode(), "Content-Type: text/html")
    shown = '("<!DOCTYPE html> <html> <body>Welcome to nginx!</body> </html>")'
    said = f"{status} no error of script-runner {shown}. "
    asked = f"GET /jobs/{JOB_ID} at URL: "
    assert message([response], RequestRejected, get) == f"{asked}{said}{hint}"
    said_of_run = f"POST /run at URL: {said}{hint_of_run or hint}"
    assert message([response], RequestRejected, run) == said_of_run


ERROR_BODIES: dict[str, object] = {
    "a list": [],
    "no error": {"ok": False},
    "an error that is a text": {"ok": False, "error": "bad"},
    "an error without a code": {"ok": False, "error": {"message": "b"}},
    "a code that is a number": {"ok": False, "error": {"code": 5, "message": "b"}},
    "a message that is null": {"ok": False, "error": {"code": "A", "message": None}},
    "half a surrogate pair": {"ok": False, "error": {"code": "A", "message": "\ud800"}},
}


@pytest.mark.parametrize("body", ERROR_BODIES.values(), ids=ERROR_BODIES)
def test_an_error_whose_body_is_no_error_is_raised_without_a_code(body: object) -> None:
    with MisbehavingServer(lambda _: [json_response(500, body)]) as server:
        for call, line in CALLS.values():
            with pytest.raises(RequestRejected) as caught:
                call(connect(server.url))
            assert parts_of(caught.value) == (500, None, None)
            assert str(caught.value).startswith(f"{line} at {server.url}: 500 no error of script-r")
            assert str(caught.value).endswith(f". {CHECK_URL}")


@pytest.mark.parametrize("sentence", ["", ".", " ...\n"])
def test_a_rejection_without_a_sentence_shows_its_code_alone(sentence: str) -> None:
    error = {"ok": False, "error": {"code": "SOME_CODE", "message": sentence}}
    said = message([json_response(500, error)], RequestRejected, get)
    assert said == f"GET /jobs/{JOB_ID} at URL: 500 SOME_CODE. The runner's own log says more."


# -- what holds of every error


@pytest.mark.parametrize(
    "steps",
    [
        [json_response(401, documented("getJob", "unauthorized"))],
        [http_response(200, b"<html>")],
        [http_response(302, b"", "Location: http://127.0.0.1:9/")],
        [http_response(200, b"{", length=9), Action.CLOSE],
        [Action.RESET],
    ],
    ids=["unauthorized", "not JSON", "a redirect", "cut off", "no response"],
)
def test_credentials_are_not_shown_when_a_call_fails(
    connected: Connected, steps: list[Step], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with MisbehavingServer(lambda _: steps) as server:
        runner = connected(f"http://anyone:s3cret@127.0.0.1:{server.port}")
        with pytest.raises(ScriptRunnerError) as caught:
            runner.status("job_1")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(runner)
    assert f"http://127.0.0.1:{server.port}" in str(caught.value)
    encoded = base64.b64encode(b"anyone:s3cret").decode()
    assert not [secret for secret in ("s3cret", "anyone:", encoded) if secret in shown]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_no_message_of_the_library_speaks_of_blocks() -> None:
    import script_runner
    from script_runner import _explain, _waiting

    assert "oomol" not in vars(script_runner).get("__all__", [])
    for module in (_explain, _waiting, script_runner._address):
        source = inspect.getsource(module)
        for word in ("run-script", "wait-for-job", "get-job", "cancel-job", "script_runner_url"):
            assert word not in source, (module, word)


MANGLED = [
    JOB,
    json_response(200, documented("getJobLogs", "multi-byte")),
    json_response(202, documented("runScript", "running")),
    json_response(404, documented("getJob", "job-not-found")),
    http_response(302, b"moved", "Location: http://[::1", "Set-Cookie: a=b; Max-Age=9; Path=/"),
    http_response(200, b"\x1f\x8b\x08\x00", "Content-Encoding: gzip, deflate, br"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
]
PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\0", b"\xff", b"9" * 400, b'"\\ud800"', b"{", b"}", b"[", b"]"),
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"99999-01-01", b"HTTP/1.0", b"HTTP/2"),
    *(b"100", b"101", b"204", b"299", b"302", b"304", b"418", b"499", b"599"),
    *(b"Content-Length: 0\r\n", b"Content-Encoding: deflate\r\n", b"Location: \xff\r\n"),
    *(b"Set-Cookie: \xff\r\n", b"Content-Type: a/b; charset=zlib\r\n", b"Connection: close\r\n"),
]
_change = st.tuples(st.integers(0, 700), st.integers(0, 20), st.sampled_from([b"", *PIECES]))


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A response with pieces cut out and others put in, anywhere."""
    response = bytearray(draw(st.sampled_from(MANGLED)))
    for place, length, piece in draw(st.lists(_change, max_size=4)):
        begin = place % (len(response) + 1)
        response[begin : begin + length] = piece
    return bytes(response)


@settings(QUICK, max_examples=400)
@given(mangled(), st.sampled_from(["get", "run", "page", "lines"]), st.sampled_from(Action))
def test_a_mangled_response_is_a_response_or_an_error_of_the_family(
    responding: tuple[MisbehavingServer, list[Step]], raw: bytes, verb: str, end: Action
) -> None:
    server, steps = responding
    steps[:] = [raw, end]
    calls: dict[str, Call] = {
        "get": get,
        "run": run,
        "page": BODIES["LogPage"][0],
        "lines": lambda runner: runner.lines(JOB_ID),
    }
    said = f"of {server.url}."
    try:
        calls[verb](connect(server.url))
    except ScriptRunnerError as error:
        said = str(error)
    assert server.url in said
    assert said[-1] in ".?"
