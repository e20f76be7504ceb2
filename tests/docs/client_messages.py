"""Provokes every message about an answer, or none: of the client, the waiting, the blocks."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner import connect, read_lines, wait_for_job
from script_runner.limits import MAX_ANSWER_BYTES
from script_runner.waiting import MAX_STREAMED_LINES
from tests.docs.messages import Message, Named, free_port, said_by, with_credential
from tests.script_runner.page_server import MemoryLog, wanted_page
from tests.support.block_runner import RecordingContext, run_block
from tests.support.description import answers
from tests.support.misbehaving_server import (
    Action,
    Answer,
    MisbehavingServer,
    Request,
    Step,
    http_answer,
    json_answer,
)

JOB_ID = "job_1"
DOCUMENTED = {(answer.operation, answer.example): answer.body for answer in answers()}


def client_messages() -> dict[str, Message]:
    """Every message, by a name that says how it was provoked."""
    sources = (failures, rejections, pages, waiting, outcomes)
    return {name: message for source in sources for name, message in source()}


# -- what comes back, or does not


def ask(url: str, **options: Any) -> object:
    """Look at a job."""
    return connect(with_credential(url)).call(get_job, JOB_ID, **options)


def start(url: str, **options: Any) -> object:
    """Start a script without waiting for it."""
    body = RunRequest("greet")
    return connect(with_credential(url)).call(run_script, body=body, returns=AcceptedJob, **options)


CALLS: dict[str, tuple[Callable[..., object], str]] = {
    "get_job": (ask, f"GET /jobs/{JOB_ID}"),
    "run_script": (start, "POST /run"),
}


def answered_by(answer: Answer, call: Callable[..., object], **options: Any) -> tuple[str, str]:
    """What a call says to an answer, and the URL of the server that gave it."""
    with MisbehavingServer(answer) as server:
        return said_by(call, server.url, **options), server.url


def always(*steps: Step) -> Answer:
    """The same answer to every request."""
    return lambda _: steps


JOB = DOCUMENTED["getJob", "succeeded"]
HTML = b"<!doctype html>" + b"<p>This is something else.</p>\n" * 20
BAD_ANSWERS: dict[str, list[Step]] = {
    "nothing": [Action.CLOSE],
    "a reset": [Action.RESET],
    "half a head": [b"HTTP/1.1 200 OK\r\nContent-Le", Action.CLOSE],
    "no HTTP": [b"220 mail.example ESMTP\r\n\r\n", Action.CLOSE],
    "half an answer": [http_answer(200, b'{"ok": true, ', length=500), Action.CLOSE],
    "no answer of the API": [http_answer(204)],
    "an unknown status": [http_answer(299, b"odd")],
    "HTML": [http_answer(200, HTML, "Content-Type: text/html")],
    "an empty answer": [http_answer(200)],
    "an array": [json_answer(200, [])],
    "a field missing": [json_answer(200, {name: JOB[name] for name in JOB if name != "status"})],
    "a field of a wrong type": [json_answer(200, {**JOB, "status": 5})],
    "a time that is none": [json_answer(200, {**JOB, "createdAt": "yesterday"})],
    "another kind": [json_answer(202, DOCUMENTED["runScript", "running"])],
    "a whole job": [json_answer(200, JOB)],
    "a redirect": [http_answer(302, b"", "Location: http://elsewhere.example/")],
    "gzip that is none": [http_answer(200, b"{}", "Content-Encoding: gzip")],
    "too much": [http_answer(200, b"[" * (MAX_ANSWER_BYTES + 1)), Action.CLOSE],
    "deep nesting": [http_answer(200, b"[" * 100_000)],
    "400 with HTML": [http_answer(400, HTML)],
    "400 with JSON that is no error": [json_answer(400, {"detail": "no"})],
    "401 of a proxy": [http_answer(401, b"who are you?")],
    "404 of another server": [http_answer(404, HTML)],
    "407": [http_answer(407)],
    "500 without a body": [http_answer(500)],
    "502 of a proxy": [http_answer(502, b"bad gateway")],
}
FITTING = {("get_job", "a whole job"), ("run_script", "another kind")}
"""What would be the right answer to a call."""


def failures() -> Named:
    """Calls that get no answer, or one that makes no sense."""
    for name, (call, asked) in CALLS.items():
        url = f"http://127.0.0.1:{free_port()}"
        yield f"{name}: refused", Message(said_by(call, url), (asked, url))
        text = said_by(call, url, time_limit_seconds=0)
        yield f"{name}: no connection in time", Message(text, (asked, url))
        with mock.patch("socket.getaddrinfo", side_effect=socket.gaierror(-2, "Name not known")):
            text = said_by(call, "http://nowhere.example")
        yield f"{name}: unknown host", Message(text, (asked, "http://nowhere.example"))
        text, url = no_answer(call)
        yield f"{name}: no answer in time", Message(text, (asked, url))
        for what, steps in BAD_ANSWERS.items():
            if (name, what) not in FITTING:
                text, url = answered_by(always(*steps), call)
                yield f"{name}: {what}", Message(text, (asked, url))
    url = f"https://127.0.0.1:{port_without_tls()}"
    yield "TLS that is none", Message(said_by(ask, url), (CALLS["get_job"][1], url))


def port_without_tls() -> int:
    """A port that answers one caller, whatever it says, with a text."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(b"this is no TLS\r\n")
            connection.recv(65536)

    threading.Thread(target=answer, daemon=True).start()
    return int(listener.getsockname()[1])


def no_answer(call: Callable[..., object]) -> tuple[str, str]:
    """What a call says to a server that takes the request and is silent."""
    with MisbehavingServer(lambda _: [str(server.stopped.wait()).encode()]) as server:
        return said_by(call, server.url, time_limit_seconds=0.1), server.url


def rejections() -> Named:
    """Every error that the API describes."""
    operations = {
        "runScript": CALLS["run_script"],
        "getJob": CALLS["get_job"],
        "getJobLogs": (read_log, f"GET /jobs/{JOB_ID}/logs"),
        "cancelJob": (cancel, f"POST /jobs/{JOB_ID}/cancel"),
    }
    for answer in answers():
        if answer.schema == "Error":
            call, asked = operations[answer.operation]
            text, url = answered_by(always(json_answer(answer.status, answer.body)), call)
            code = answer.body["error"]["code"]
            yield str(answer), Message(text, (asked, url, str(answer.status), code))
    for what, sentence in ODD_SENTENCES.items():
        error = {"ok": False, "error": {"code": "TOO_LATE", "message": sentence}}
        for name, (call, asked) in CALLS.items():
            text, url = answered_by(always(json_answer(409, error)), call)
            yield f"{name}: {what}", Message(text, (asked, url, "409", "TOO_LATE"))


ODD_SENTENCES = {
    "a sentence with a full stop": "It is too late for that.",
    "a long sentence": "It is too late" + ", by far" * 1000,
    "two lines": "It is too late for that:\nthe job has ended",
}
"""What another runner than ours may say."""


def read_log(url: str) -> object:
    """Read the first page of a log."""
    return connect(with_credential(url)).call(get_job_logs, JOB_ID)


def cancel(url: str) -> object:
    """Cancel a job."""
    return connect(with_credential(url)).call(cancel_job, JOB_ID)


def page(**fields: object) -> dict[str, Any]:
    """A page of a log as the API has it, but for some fields."""
    return {**DOCUMENTED["getJobLogs", "whole"], "jobId": JOB_ID, **fields}


def pages() -> Named:
    """Pages of logs that do not fit together."""
    name = f"the stdout log of job {JOB_ID}"
    bad_pages = {
        "another page": [page(offset=3)],
        "a page that does not advance": [page(nextOffset=0, data="")],
        "a page that brings little": [page(totalSize=20)],
        "a page with another text": [page(data="start\nand more")],
        "a log that shrinks": [
            page(totalSize=9),
            page(offset=6, nextOffset=6, totalSize=6, data=""),
        ],
    }
    for what, bodies in bad_pages.items():
        text, url = answered_by(one_after_the_other(bodies), read_lines_of_the_log)
        yield what, Message(text, (name, url))
    shorter = [{**JOB, "jobId": JOB_ID, "stdoutSize": 20}, page()]
    text, url = answered_by(one_after_the_other(shorter), run_to_the_end)
    yield "a log that is shorter than the job says", Message(text, (name, url))
    unknowable = {**JOB, "jobId": "j" * 70_000, "stdoutSize": 20}
    text, url = answered_by(always(json_answer(200, unknowable)), run_to_the_end)
    yield "a job whose id is no id", Message(text, ("jjj", url))


def one_after_the_other(bodies: Sequence[object]) -> Answer:
    """Another answer to each request."""
    left = iter(bodies)
    return lambda _: [json_answer(200, next(left))]


def read_lines_of_the_log(url: str) -> object:
    """Read the first lines of a log."""
    return run_block("get-job-logs", job_id=JOB_ID, script_runner_url=with_credential(url))


def run_to_the_end(url: str) -> object:
    """Run a script and read all that it wrote."""
    return run_block("run-script-sync", script_id="greet", script_runner_url=with_credential(url))


# -- waiting, and what a block says besides its outputs


def waiting() -> Named:
    """A wait that is over before the job is, and what is said of long output."""
    running = {**DOCUMENTED["getJob", "running"], "jobId": JOB_ID}
    text, url = answered_by(always(json_answer(200, running)), look_once)
    yield "a wait that is over", Message(text, (f"job {JOB_ID}", url, "running", "0 s"))

    answered: Iterator[Step] = iter([json_answer(200, running)])
    text, url = answered_by(
        lambda _: [next(answered, Action.CLOSE)], look_once, timeout_seconds=0.1
    )
    yield "a wait that is over and a runner that is away", Message(text, (JOB_ID, url, "running"))

    lines: list[str] = []
    with long_output() as url:
        wait_for_job(connect(url), JOB_ID, on_line=lambda line, _: lines.append(line))
        yield "long output", Message(lines[-1], (str(MAX_STREAMED_LINES), "get-job-logs"))
    with (
        long_output() as url,
        mock.patch("script_runner.waiting.LEAST_LOOK_SECONDS", 0.1),
        mock.patch("script_runner.lines.PAGE_BYTES", 4),
    ):
        look_once(url, on_line=lambda line, _: lines.append(line))
        yield "output that is not read in time", Message(lines[-1], ("get-job-logs",))
    with long_output() as url, mock.patch("script_runner.lines.LineIndex") as index:
        index.return_value.lock.acquire.return_value = False
        text = said_by(read_lines, connect(url), "job_2")
    yield "a log that another call is reading", Message(text, ("job_2", url))


@contextlib.contextmanager
def long_output() -> Iterator[str]:
    """The URL of a server of a job that has ended and said much."""
    log = MemoryLog(b"line\n" * (MAX_STREAMED_LINES + 1))
    ended = {**JOB, "jobId": JOB_ID, "stdoutSize": len(log.raw)}

    def answer(request: Request) -> list[Step]:
        if "/logs" not in request.target:
            return [json_answer(200, ended)]
        _, offset, limit = wanted_page(request)
        return [json_answer(200, log.page(offset, limit).to_dict())]

    with MisbehavingServer(answer) as server:
        yield server.url


def look_once(url: str, **options: Any) -> object:
    """Wait for a job for no time at all."""
    given = {"timeout_seconds": 0, **options}
    return wait_for_job(connect(with_credential(url)), JOB_ID, **given)


def outcomes() -> Named:
    """What came of a cancel, and the warning that output is cut."""
    for example in ("cancelled", "signal-sent", "already-succeeded", "already-failed"):
        body = {**DOCUMENTED["cancelJob", example], "jobId": JOB_ID}
        outputs, _ = shown_by("cancel-job", body)
        yield f"cancel: {example}", Message(outputs["message"], (JOB_ID,))
    _, warnings = shown_by("get-job-logs", page(truncated=True))
    yield "a cut log", Message(warnings[0], (JOB_ID, "stdout", "maxLogBytesPerStream"))


def shown_by(block: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The outputs and the warnings of a block whose every request gets one answer."""
    context = RecordingContext()
    with MisbehavingServer(always(json_answer(200, body))) as server:
        outputs = run_block(block, context, job_id=JOB_ID, script_runner_url=server.url)
    return outputs, context.warnings
