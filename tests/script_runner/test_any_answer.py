"""Whatever comes in place of an answer: an error of the one family, never another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_client.api.jobs import get_job, run_script
from generated_client.models import AcceptedJob, Job, LogPage, RunRequest
from script_runner import Runner, ScriptRunnerError, connect, read_lines
from script_runner.pages import RunnerLog
from tests.script_runner.documented import documented
from tests.script_runner.log_strategies import QUICK
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_answer,
    json_answer,
)

ANSWERS = [
    json_answer(200, documented("getJob", "succeeded")),
    json_answer(200, documented("getJobLogs", "multi-byte")),
    json_answer(202, documented("runScript", "running")),
    json_answer(404, documented("getJob", "job-not-found")),
    http_answer(302, b"moved", "Location: http://[::1", "Set-Cookie: a=b; Max-Age=9; Path=/"),
    http_answer(200, b"\x1f\x8b\x08\x00", "Content-Encoding: gzip, deflate, br"),
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
def mangled_answers(draw: st.DrawFn) -> bytes:
    """An answer with pieces cut out and others put in, anywhere."""
    answer = bytearray(draw(st.sampled_from(ANSWERS)))
    for place, length, piece in draw(st.lists(_change, max_size=4)):
        begin = place % (len(answer) + 1)
        answer[begin : begin + length] = piece
    return bytes(answer)


class Mangling:
    """A server that answers with bytes that can be set, and then closes or resets."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.server = MisbehavingServer(self.answer)

    def answer(self, _: Request) -> list[Step]:
        return self.steps


@pytest.fixture(scope="module")
def mangling() -> Iterator[Mangling]:
    made = Mangling()
    with made.server:
        yield made


def get(runner: Runner) -> Job:
    return runner.call(get_job, "job_1")


def run(runner: Runner) -> AcceptedJob:
    return runner.call(run_script, body=RunRequest("say"), returns=AcceptedJob)


def page(runner: Runner) -> LogPage:
    return RunnerLog(runner, "job_1", "stdout").page(0, 100)


def some_lines(runner: Runner) -> list[str]:
    return read_lines(runner, "job_1").lines


@settings(QUICK, max_examples=400)
@given(mangled_answers(), st.sampled_from([get, run, page, some_lines]), st.sampled_from(Action))
def test_a_mangled_answer_is_an_answer_or_an_error_of_the_family(
    mangling: Mangling, answer: bytes, call: Callable[[Runner], object], end: Action
) -> None:
    mangling.steps = [answer, end]
    try:
        call(connect(mangling.server.url))
    except ScriptRunnerError as error:
        said = str(error)
    else:
        return
    assert mangling.server.url in said
    assert said[-1] in ".?"


def test_after_all_that_the_runner_still_works(mangling: Mangling) -> None:
    mangling.steps = [ANSWERS[0]]
    assert get(connect(mangling.server.url)) == Job.from_dict(documented("getJob", "succeeded"))
