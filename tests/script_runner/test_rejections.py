"""HTTP errors: those of the description, those of something else, and those that make no sense."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import Job, RunRequest
from script_runner import RequestRejected, Runner, connect
from tests.script_runner.documented import documented
from tests.support.description import Answer, answers
from tests.support.misbehaving_server import MisbehavingServer, http_answer, json_answer
from tests.support.prism_client import prefer_answers

JOB_ID = "job_1795459086738_1"
CALLS: dict[str, tuple[Callable[[Runner], object], str]] = {
    "runScript": (
        lambda runner: runner.call(run_script, body=RunRequest("quick-echo"), returns=Job),
        "POST /run",
    ),
    "getJob": (lambda runner: runner.call(get_job, JOB_ID), f"GET /jobs/{JOB_ID}"),
    "getJobLogs": (
        lambda runner: runner.call(get_job_logs, JOB_ID),
        f"GET /jobs/{JOB_ID}/logs?stream=stdout&offset=0&limit=65536",
    ),
    "cancelJob": (lambda runner: runner.call(cancel_job, JOB_ID), f"POST /jobs/{JOB_ID}/cancel"),
}
SCRIPTS_JSON = "Script ids are those of the runner's scripts.json."
ARGS_JSON = "Which arguments a script takes is written in the runner's scripts.json."
TOKEN = "Put the runner's token into the URL: http://any:TOKEN@HOST:PORT."
SEE = ""
"""The sentence of the runner says what to do."""
OTHER = "This came from something other than script-runner: check the URL."
IS_IT = "Is this the URL of a script-runner, with nothing missing or added?"
HINTS = {
    "SCRIPT_NOT_FOUND": SCRIPTS_JSON,
    "INVALID_ARGS": ARGS_JSON,
    "JOB_NOT_FOUND": "The runner may have forgotten an old job, or this is another runner's job.",
    "NOT_FOUND": IS_IT,
    "UNAUTHORIZED": TOKEN,
    "UNAVAILABLE": SEE,
    "INTERNAL_ERROR": "The runner's own log says more.",
    "FORBIDDEN_HOST": SEE,
    "FORBIDDEN_ORIGIN": SEE,
    "BODY_TOO_LARGE": "Pass large data in a file, not in arguments.",
    "UNSUPPORTED_MEDIA_TYPE": SEE,
}
DOCUMENTED = [answer for answer in answers() if answer.schema == "Error"]


def rejection(error: RequestRejected) -> tuple[int, str | None, str | None]:
    """The parts of the answer that an error has."""
    return error.status_code, error.code, error.message


@pytest.mark.parametrize("answer", DOCUMENTED, ids=str)
def test_a_documented_error_is_raised_with_its_parts(
    mock_url: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, line = CALLS[answer.operation]
    runner = Runner(httpx.URL(mock_url))
    prefer_answers(monkeypatch, runner, lambda _: answer.prefer)
    with pytest.raises(RequestRejected) as caught:
        call(runner)
    said = answer.body["error"]
    assert rejection(caught.value) == (answer.status, said["code"], said["message"])
    assert str(caught.value) == (
        f"{line} at {mock_url}: {answer.status} {said['code']}: {said['message']}. "
        f"{HINTS[said['code']]}".rstrip()
    )


def test_every_documented_code_has_been_seen() -> None:
    assert {answer.body["error"]["code"] for answer in DOCUMENTED} == set(HINTS)


@pytest.mark.parametrize("call", [call for call, _ in CALLS.values()], ids=CALLS)
@pytest.mark.parametrize("status", [400, 402, 418, 429, 500, 502, 504])
def test_an_error_at_a_status_that_is_not_documented_has_its_parts_too(
    status: int, call: Callable[[Runner], object]
) -> None:
    body = {"ok": False, "error": {"code": "LATER", "message": "added later"}}
    with (
        MisbehavingServer(lambda _: [json_answer(status, body)]) as server,
        pytest.raises(RequestRejected) as caught,
    ):
        call(connect(server.url))
    hint = SEE if status < 500 else "The runner's own log says more."
    assert rejection(caught.value) == (status, "LATER", "added later")
    assert str(caught.value).endswith(
        f"at {server.url}: {status} LATER: added later. {hint}".rstrip()
    )


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, OTHER),
        (401, TOKEN),
        (402, OTHER),
        (403, OTHER),
        (404, IS_IT),
        (407, "The proxy of the environment (HTTP_PROXY) wants credentials."),
        (418, OTHER),
        # Statuses that are no documented ones anywhere.
        (499, OTHER),
        (500, OTHER),
        (502, OTHER),
        (503, OTHER),
        (599, OTHER),
        (999, OTHER),
    ],
)
def test_an_http_error_of_something_else_is_raised_with_the_start_of_its_body(
    status: int, hint: str
) -> None:
    html = b"<html>\r\n<head><title>Bad</title></head>\r\n" + b"<p>" * 200
    with (
        MisbehavingServer(lambda _: [http_answer(status, html)]) as server,
        pytest.raises(RequestRejected) as caught,
    ):
        connect(server.url).call(get_job, JOB_ID)
    start = ("<html> <head><title>Bad</title></head> " + "<p>" * 200)[:200]
    assert rejection(caught.value) == (status, None, None)
    assert str(caught.value) == (
        f"GET /jobs/{JOB_ID} at {server.url}: {status} no error of script-runner "
        f'("{start}…"). {hint}'
    )


BAD_BODIES: dict[str, bytes] = {
    "empty": http_answer(500),
    "not JSON": http_answer(500, b"Internal Server Error"),
    "invalid UTF-8": http_answer(500, b'{"ok": false, "error": "\xff"}'),
    "nested deep": http_answer(500, b"[" * 100_000),
    "a number of 5000 digits": http_answer(500, b'{"ok": ' + b"1" * 5000 + b"}"),
    "bad gzip": http_answer(500, b"{}", "Content-Encoding: gzip"),
    "a charset that is none": http_answer(500, b"\xff", "Content-Type: text/html; charset=zlib"),
    "null": json_answer(500, None),
    "a list": json_answer(500, []),
    "a text": json_answer(500, "error"),
    "a number": json_answer(500, 5),
    "an empty object": json_answer(500, {}),
    "no error": json_answer(500, {"ok": False}),
    "a job": json_answer(500, documented("getJob", "failed")),
    "the error of another API": json_answer(500, {"error": {"status": 5, "title": "no"}}),
    "error is a text": json_answer(500, {"ok": False, "error": "gone"}),
    "error is null": json_answer(500, {"ok": False, "error": None}),
    "error is a list": json_answer(500, {"ok": False, "error": ["CODE", "message"]}),
    "ok is a text": json_answer(500, {"ok": "no", "error": {"code": "A", "message": "b"}}),
    "ok is missing": json_answer(500, {"error": {"code": "A", "message": "b"}}),
    "the code is missing": json_answer(500, {"ok": False, "error": {"message": "b"}}),
    "the message is missing": json_answer(500, {"ok": False, "error": {"code": "A"}}),
    "the code is a number": json_answer(500, {"ok": False, "error": {"code": 5, "message": "b"}}),
    "the code is null": json_answer(500, {"ok": False, "error": {"code": None, "message": "b"}}),
    "the message is null": json_answer(500, {"ok": False, "error": {"code": "A", "message": None}}),
    "half a surrogate pair": json_answer(
        500, {"ok": False, "error": {"code": "A", "message": "\ud800"}}
    ),
}


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("answer", BAD_BODIES.values(), ids=BAD_BODIES)
def test_an_error_whose_body_is_no_error_is_raised_without_a_code(answer: bytes) -> None:
    with MisbehavingServer(lambda _: [answer]) as server:
        for call, line in CALLS.values():
            with pytest.raises(RequestRejected) as caught:
                call(connect(server.url))
            assert rejection(caught.value) == (500, None, None)
            said = f"{line} at {server.url}: 500 no error of script-runner"
            assert str(caught.value).startswith(said)
            assert str(caught.value).endswith(f". {OTHER}")


@pytest.mark.parametrize("message", ["", ".", " ...\n"])
def test_a_rejection_without_a_sentence_shows_its_code_alone(message: str) -> None:
    error = {"ok": False, "error": {"code": "SOME_CODE", "message": message}}
    with MisbehavingServer(lambda _: [json_answer(500, error)]) as server:
        with pytest.raises(RequestRejected) as caught:
            connect(server.url).call(get_job, JOB_ID)
        line = f"GET /jobs/{JOB_ID} at {server.url}"
    assert str(caught.value) == f"{line}: 500 SOME_CODE. The runner's own log says more."
    assert caught.value.message == message
