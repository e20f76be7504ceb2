"""What can come in place of an answer: which error it is, and what its message says."""

from __future__ import annotations

import errno
import gzip
import os
import re
import socket

import pytest

from generated_client.api.jobs import cancel_job, get_job, run_script
from generated_client.models import AcceptedJob, Job, RunRequest
from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
    connect,
)
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Step,
    http_answer,
    json_answer,
)

RUN = RunRequest("quick-echo")
JOB = json_answer(200, documented("getJob", "succeeded"))
IS_IT = "Is this the URL of a script-runner?"
TRY_AGAIN = "Did the runner stop or restart? Try again."
CHECK_URL = "This came from something other than script-runner: check the URL."
MAY_RUN = "The script may have been started: look at the runner's jobs before you run it again."
HTML = "<!DOCTYPE html>\n<html>\n  <body>Welcome to nginx!</body>\n</html>\n"


def test_the_errors_are_one_family() -> None:
    for error in (RunnerUnreachable, RequestTimedOut, RequestRejected, InvalidResponse):
        assert error.__mro__[:2] == (error, ScriptRunnerError)
    assert InvalidInput.__mro__[:3] == (InvalidInput, ScriptRunnerError, ValueError)


def lost(cause: str) -> str:
    return f"the connection was lost before an answer came ({cause}). {TRY_AGAIN}"


CLOSED = "RemoteProtocolError: Server disconnected without sending a response."
RESET = f"ReadError: [Errno {errno.ECONNRESET}] {os.strerror(errno.ECONNRESET)}"
REFUSED = f"ConnectError: [Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"

NO_ANSWER: dict[str, tuple[list[Step], str]] = {
    "closed": ([Action.CLOSE], lost(CLOSED)),
    "reset": ([Action.RESET], lost(RESET)),
    "reset in the head": (
        [JOB[:30], Action.RESET],
        lost(RESET),
    ),
    "closed in the head": ([JOB[:30], Action.CLOSE], lost(CLOSED)),
}


@pytest.mark.parametrize(("steps", "said"), NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_connection_without_an_answer_is_an_unreachable_runner(
    steps: list[Step], said: str
) -> None:
    with MisbehavingServer(lambda _: steps) as server, pytest.raises(RunnerUnreachable) as caught:
        connect(server.url).call(get_job, "job_1")
    assert str(caught.value) == f"GET /jobs/job_1 at {server.url}: {said}"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"+OK Redis\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        http_answer(101, b"", "Upgrade: websocket", "Connection: Upgrade"),
    ],
)
def test_an_answer_that_is_not_http_is_an_invalid_response(answer: bytes) -> None:
    with (
        MisbehavingServer(lambda _: [answer]) as server,
        pytest.raises(InvalidResponse) as caught,
    ):
        connect(server.url).call(get_job, "job_1")
    said = f"GET /jobs/job_1 at {server.url}: what came is no HTTP answer (RemoteProtocolError: "
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith(f"). {IS_IT}")


def test_a_port_where_nothing_listens_is_an_unreachable_runner() -> None:
    with MisbehavingServer(lambda _: []) as gone:
        pass
    with pytest.raises(RunnerUnreachable) as caught:
        connect(gone.url + "/tools").call(get_job, "job_1")
    assert str(caught.value) == (
        f"GET /tools/jobs/job_1 at {gone.url}/tools: no connection ({REFUSED}). "
        "Is script-runner running there? "
        f"Inside a container use http://host.docker.internal:{gone.port}."
    )


def test_a_host_that_does_not_exist_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RunnerUnreachable) as caught:
        connect("https://nowhere.localhost").call(get_job, "job_1")
    assert str(caught.value) == (
        "GET /jobs/job_1 at https://nowhere.localhost: no connection (ConnectError: [Errno -2] "
        "Name or service not known). Is script-runner running there? "
        "Inside a container use https://host.docker.internal:443."
    )


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [JOB[:-9], Action.CLOSE],
            "answer 200 was cut off (RemoteProtocolError: peer closed connection without sending "
            "complete message body (received {got} bytes, expected {all}))",
        ),
        (
            [JOB[:-9], Action.RESET],
            f"answer 200 was cut off ({RESET})",
        ),
    ],
    ids=["closed", "reset"],
)
def test_an_answer_that_is_cut_off_is_an_invalid_response(steps: list[Step], said: str) -> None:
    size = len(JOB.partition(b"\r\n\r\n")[2])
    said = said.format(got=size - 9, all=size)
    with MisbehavingServer(lambda _: steps) as server:
        with pytest.raises(InvalidResponse) as caught:
            connect(server.url).call(get_job, "job_1")
        assert str(caught.value) == f"GET /jobs/job_1 at {server.url}: {said}. {TRY_AGAIN}"
        with pytest.raises(InvalidResponse) as caught:
            connect(server.url).call(run_script, body=RUN, returns=Job)
        assert str(caught.value) == f"POST /run at {server.url}: {said}. {MAY_RUN}"


def test_a_run_that_got_no_answer_may_have_been_started() -> None:
    with (
        MisbehavingServer(lambda _: [Action.CLOSE]) as server,
        pytest.raises(RunnerUnreachable) as caught,
    ):
        connect(server.url).call(run_script, body=RUN, returns=Job)
    assert str(caught.value).endswith(f"before an answer came ({CLOSED}). {MAY_RUN}")


def test_a_run_that_took_too_long_may_still_be_running() -> None:
    def answer(_: object) -> list[Step]:
        server.stopped.wait()
        return []

    with MisbehavingServer(answer) as server, pytest.raises(RequestTimedOut) as caught:
        connect(server.url).call(run_script, body=RUN, returns=Job, time_limit_seconds=0.2)
    assert str(caught.value) == (
        f"POST /run at {server.url}: no whole answer within 0.2 s. The script may still be "
        "running. For a long script use run-script-async and wait-for-job."
    )


def test_only_a_run_can_have_started_a_script() -> None:
    with MisbehavingServer(lambda _: [Action.CLOSE]) as server:
        for call in (get_job, cancel_job):
            with pytest.raises(RunnerUnreachable, match=re.escape(TRY_AGAIN)):
                connect(server.url).call(call, "x/run")
            with pytest.raises(RunnerUnreachable, match=re.escape(TRY_AGAIN)):
                connect(server.url).call(call, "run")


NESTED = b"[" * 100_000
UNUSABLE: dict[str, tuple[bytes, str]] = {
    "empty": (http_answer(200), "answer 200 is not JSON (empty)"),
    "HTML": (
        http_answer(200, HTML.encode(), "Content-Type: text/html"),
        'answer 200 is not JSON ("<!DOCTYPE html> <html> <body>Welcome to nginx!</body> </html>")',
    ),
    "long": (http_answer(200, b"y" * 999), f'answer 200 is not JSON ("{"y" * 200}…")'),
    "half": (http_answer(200, b'{"ok": true'), 'answer 200 is not JSON ("{"ok": true")'),
    "a list": (json_answer(200, []), 'answer 200 is not a JSON object ("[]")'),
    "a list of pairs": (
        json_answer(200, [["ok", True]]),
        'answer 200 is not a JSON object ("[["ok", true]]")',
    ),
    "a text": (json_answer(200, "job"), 'answer 200 is not a JSON object (""job"")'),
    "an empty text": (json_answer(200, ""), 'answer 200 is not a JSON object ("""")'),
    "null": (json_answer(200, None), 'answer 200 is not a JSON object ("null")'),
    "true": (json_answer(200, True), 'answer 200 is not a JSON object ("true")'),
    "a number": (json_answer(200, 5), 'answer 200 is not a JSON object ("5")'),
    "an object": (json_answer(200, {}), 'answer 200 lacks the field ok ("{}")'),
    "invalid UTF-8": (http_answer(200, b'"\xff"'), 'answer 200 is not JSON (""\ufffd"")'),
    "nested deep": (http_answer(200, NESTED), f'answer 200 is not JSON ("{"[" * 200}…")'),
    "a number of 5000 digits": (
        http_answer(200, b"1" * 5000),
        f'answer 200 is not JSON ("{"1" * 200}…")',
    ),
    "a charset that is none": (
        http_answer(200, b"<p>", "Content-Type: text/html; charset=hex"),
        'answer 200 is not JSON ("<p>")',
    ),
    "bad gzip": (
        http_answer(200, b"{}", "Content-Encoding: gzip"),
        "answer 200 is not the gzip it says it is",
    ),
    "no content": (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        "answer 204 is not an answer of script-runner (empty)",
    ),
    "another 2xx": (
        json_answer(201, {"id": 1}),
        'answer 201 is not an answer of script-runner ("{"id": 1}")',
    ),
    "a 2xx that is no status": (
        http_answer(299, b"<p>"),
        'answer 299 is not JSON ("<p>")',
    ),
}  # fmt: skip


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(("answer", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_answer_that_is_no_job_is_an_invalid_response(answer: bytes, said: str) -> None:
    with MisbehavingServer(lambda _: [answer]) as server:
        with pytest.raises(InvalidResponse) as caught:
            connect(server.url).call(get_job, "job_1")
        assert str(caught.value) == f"GET /jobs/job_1 at {server.url}: {said}. {IS_IT}"
        with pytest.raises(InvalidResponse, match="POST /run at"):
            connect(server.url).call(run_script, body=RUN, returns=Job)


def test_an_answer_that_is_packed_although_that_was_not_asked_for_is_read() -> None:
    body = gzip.compress(JOB.partition(b"\r\n\r\n")[2])
    with MisbehavingServer(lambda _: [http_answer(200, body, "Content-Encoding: gzip")]) as server:
        assert connect(server.url).call(get_job, "job_1").code == 0


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/", "/other", "mailto:x", "http://[", ""])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, location: str) -> None:
    answer = http_answer(status, b"moved", f"Location: {location}")
    with MisbehavingServer(lambda _: [answer]) as server:
        with pytest.raises(InvalidResponse) as caught:
            connect(server.url).call(get_job, "job_1")
        assert len(server.requests) == 1
    assert str(caught.value) == (
        f"GET /jobs/job_1 at {server.url}: answer {status} is not an answer of script-runner "
        '("moved"). Redirects are not followed: use the URL that answers itself.'
    )


def test_an_answer_of_another_kind_than_wanted_is_an_invalid_response() -> None:
    with MisbehavingServer(lambda _: [JOB]) as server, pytest.raises(InvalidResponse) as caught:
        connect(server.url).call(run_script, body=RUN, returns=AcceptedJob)
    assert "POST /run" in str(caught.value)
    assert "answer 200 is not as described: Job came where AcceptedJob was wanted" in str(
        caught.value
    )
