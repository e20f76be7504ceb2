"""The verbs of `ScriptRunner` and `AsyncScriptRunner`: what is sent, and what comes back."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generated_client.api.jobs import get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, Job, RunRequest
from script_runner import (
    InvalidInput,
    InvalidResponse,
    LogLines,
    RequestRejected,
    ScriptRunner,
    ScriptRunnerError,
    WaitTimedOut,
    connect,
)
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.script_runner.documented import documented, documented_job
from tests.script_runner.verbs import Connected
from tests.support.misbehaving_server import MisbehavingServer, http_response, json_response

JOB = json_response(200, documented("getJob", "succeeded"))
JOB_ID = documented("getJob", "succeeded")["jobId"]
RUN = {"scriptId": "quick-echo", "args": ["a b", "日"]}
PAGE = documented("getJobLogs", "whole") | {"jobId": JOB_ID}
Verb = Callable[[Any], object]
VERBS: dict[str, tuple[Verb, str, bytes]] = {
    "start": (
        lambda runner: runner.start("quick-echo", "a b", "日"),
        "POST /run",
        json_response(202, documented("runScript", "running")),
    ),
    "run": (lambda runner: runner.run("quick-echo", "a b", "日"), "POST /run", JOB),
    "status": (lambda runner: runner.status(JOB_ID), f"GET /jobs/{JOB_ID}", JOB),
    "cancel": (lambda runner: runner.cancel(JOB_ID), f"POST /jobs/{JOB_ID}/cancel", JOB),
    "wait": (lambda runner: runner.wait(JOB_ID), f"GET /jobs/{JOB_ID}", JOB),
    "call": (
        lambda runner: runner.call(get_job_logs, JOB_ID, stream="stdout", offset=0, limit=4096),
        f"GET /jobs/{JOB_ID}/logs?stream=stdout&offset=0&limit=4096",
        json_response(200, PAGE),
    ),
}


@pytest.mark.parametrize(("verb", "line", "response"), VERBS.values(), ids=VERBS)
def test_a_verb_sends_one_request(
    connected: Connected, verb: Verb, line: str, response: bytes
) -> None:
    with MisbehavingServer(lambda _: [response]) as server:
        verb(connected(server.url))
    [request] = server.requests
    assert f"{request.method} {request.target}" == line
    assert request.headers["accept"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    if line == "POST /run":
        assert request.headers["content-type"] == "application/json"
        mode = "async" if response is VERBS["start"][2] else "sync"
        assert json.loads(request.body) == RUN | {"mode": mode}


def test_an_id_of_any_characters_is_one_part_of_the_path(connected: Connected) -> None:
    job = json_response(200, documented("getJob", "succeeded") | {"jobId": "a/b ?#%日.."})
    with MisbehavingServer(lambda _: [job]) as server:
        connected(server.url).status("a/b ?#%日..")
    assert server.requests[0].target == "/jobs/a%2Fb%20%3F%23%25%E6%97%A5.."


def test_a_response_is_returned_as_its_model(connected: Connected) -> None:
    body = documented("getJob", "succeeded") | {"later": {"added": [1]}}
    with MisbehavingServer(lambda _: [json_response(200, body)]) as server:
        job = connected(server.url).status(JOB_ID)
    assert job.additional_properties == {"later": {"added": [1]}}
    job.additional_properties = {}
    assert job == documented_job()


def test_json_numbers_without_a_fraction_are_integers() -> None:
    body = json.dumps(documented("getJob", "succeeded"))
    body = body.replace('"code": 0', '"code": 0.0').replace('"stdoutSize": 6', '"stdoutSize": 6e0')
    with MisbehavingServer(lambda _: [http_response(200, body.encode())]) as server:
        job = connect(server.url).status(JOB_ID)
    assert [(value, type(value)) for value in (job.code, job.stdout_size)] == [(0, int), (6, int)]


UNSENDABLE: dict[str, tuple[Verb, str]] = {
    "no id": (lambda runner: runner.status(""), "job_id must be a string that is not empty"),
    "null": (lambda runner: runner.cancel(None), "job_id must be a string that is not empty"),
    "a dot": (lambda runner: runner.wait("."), "job_id must not be '.'"),
    "two dots": (lambda runner: runner.lines(".."), "job_id must not be '..'"),
    "two dots in a call": (lambda runner: runner.call(get_job, ".."), "job_id must not be '..'"),
    "half a surrogate pair": (lambda runner: runner.status("\ud800"), "job_id has half a"),
    "an id longer than a URL": (lambda runner: runner.status("x" * 70_000), "this cannot be sent"),
    "no script": (lambda runner: runner.start(""), "script_id must be a string"),
    "a number as argument": (lambda runner: runner.run("say", 5), r"args\[0\] must be a string"),
    "half a pair as argument": (lambda runner: runner.run("say", "\ud800"), r"args\[0\] has half"),
    "half a pair in a body": (
        lambda runner: runner.call(run_script, body=RunRequest("a", args=["\ud800"])),
        "this cannot be sent",
    ),
    "a stream": (lambda runner: runner.lines("a", "stdin"), "stream must be stdout or stderr"),
    "an offset": (lambda runner: runner.lines("a", offset=-1), "offset must be a whole number"),
    "a limit": (lambda runner: runner.lines("a", limit=0.5), "limit must be a whole number of 1"),
    "a timeout": (
        lambda runner: runner.call(get_job, "a", timeout="1"),
        "timeout must be a number of seconds, 0 or more, at most 2000000, got '1'",
    ),
    "an output": (lambda runner: runner.output(documented_job(), "stdin"), "stream must be"),
    "a wait": (lambda runner: runner.wait("a", timeout=-1), "timeout must be a number of seconds"),
}  # fmt: skip


@pytest.mark.parametrize(("verb", "said"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_what_cannot_be_sent_is_an_invalid_input(
    connected: Connected, verb: Verb, said: str
) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        with pytest.raises(InvalidInput, match=said) as caught:
            verb(connected(server.url))
        assert server.connections == 0
    assert len(str(caught.value)) < 1000


def test_an_operation_called_wrong_is_a_type_error(connected: Connected) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        with pytest.raises(TypeError, match="unexpected keyword argument 'job'"):
            connected(server.url).call(get_job, job="job_1")
        assert server.connections == 0


def test_another_model_than_wanted_is_an_invalid_response(connected: Connected) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server, pytest.raises(InvalidResponse) as caught:
        connected(server.url).call(run_script, body=RunRequest("a"), returns=AcceptedJob)
    assert "response 200 is not as described: Job came, not the AcceptedJob that was wanted" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        (
            lambda runner: runner.status("mine"),
            documented("getJob", "succeeded") | {"jobId": "yours"},
            "field jobId should be 'mine', is 'yours'",
        ),
        (
            lambda runner: runner.lines(JOB_ID, "stderr"),
            PAGE | {"stream": "stdout"},
            "field stream should be 'stderr', is 'stdout'",
        ),
        (
            lambda runner: runner.run("mine"),
            documented("getJob", "succeeded"),
            "field scriptId should be 'mine', is 'quick-echo'",
        ),
        (
            lambda runner: runner.cancel("mine"),
            documented("getJob", "succeeded"),
            "field jobId should be 'mine', is",
        ),
    ],
)
def test_a_response_for_another_job_or_stream_is_an_invalid_response(
    connected: Connected, verb: Verb, body: dict[str, Any], said: str
) -> None:
    with (
        MisbehavingServer(lambda _: [json_response(200, body)]) as server,
        pytest.raises(InvalidResponse, match=said),
    ):
        verb(connected(server.url))


@pytest.mark.parametrize("cookie", ["session=1; Path=/", "session=\xff"])
def test_a_cookie_is_not_sent_back(connected: Connected, cookie: str) -> None:
    body = json.dumps(documented("getJob", "succeeded")).encode()
    response = http_response(200, body, f"Set-Cookie: {cookie}")
    with MisbehavingServer(lambda _: [response]) as server:
        runner = connected(server.url)
        for _ in range(2):
            runner.status(JOB_ID)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


def test_the_verbs_against_a_real_runner(connected: Connected, tmp_path: Path) -> None:
    scripts = {
        "say": '#!/bin/sh\nprintf "%s\\n" "$@"; echo err >&2\n',
        "sleep": "#!/bin/sh\necho begun; exec sleep 60\n",
    }
    seen: list[tuple[str, str]] = []

    def on_line(line: str, stream: str) -> None:
        seen.append((stream, line))

    with RunnerProcess(tmp_path, scripts) as process:
        runner = connected(process.url)
        job_id = runner.start("say", "one", "日 two")
        job = runner.wait(job_id, timeout=20, on_line=on_line)
        assert (job.job_id, job.status, job.code) == (job_id, "succeeded", 0)
        assert seen == [("stdout", "one"), ("stdout", "日 two"), ("stderr", "err")]
        assert runner.lines(job_id, limit=1) == LogLines(["one"], 2, truncated=False)
        assert runner.lines(job_id, "stderr").lines == ["err"]
        job = runner.run("say", "x")
        assert (runner.output(job), runner.output(job, "stderr")) == ("x\n", "err\n")
        job_id = runner.start("sleep")
        with pytest.raises(WaitTimedOut, match="is still running after 0 s") as caught:
            runner.wait(job_id, timeout=0)
        assert (caught.value.job.job_id, caught.value.job.status) == (job_id, "running")
        assert runner.status(job_id).status == "running"
        runner.cancel(job_id)
        assert runner.wait(job_id, timeout=20).status == "canceled"
        with pytest.raises(RequestRejected, match="JOB_NOT_FOUND"):
            runner.lines("nope")


def test_a_closed_runner_keeps_no_connection(connected: Connected) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        runner = connected(server.url)
        runner.status(JOB_ID)
        assert server.open_connections == 1
        runner.close()
        wait_until(lambda: not server.open_connections)


def test_a_runner_is_closed_at_the_end_of_its_block() -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        with ScriptRunner(server.url) as runner:
            assert isinstance(runner.status(JOB_ID), Job)
        wait_until(lambda: not server.open_connections)


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("no"),
        RequestRejected("no", status_code=404, code="JOB_NOT_FOUND", message="not found"),
        WaitTimedOut("late", job=documented_job()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_goes_whole_from_one_process_to_another(error: ScriptRunnerError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
