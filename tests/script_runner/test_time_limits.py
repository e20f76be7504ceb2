"""How long a call may take, as a whole, how large an answer may be, and that a run is sent once."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from generated_client.api.jobs import get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    Runner,
    RunnerUnreachable,
    ScriptRunnerError,
    answers,
    connect,
    failures,
    limits,
    transport,
)
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_answer,
    json_answer,
)

JOB = json_answer(200, documented("getJob", "succeeded"))
LIMIT_SECONDS = 0.4
MUCH_LONGER_SECONDS = 4.0
RUN = RunRequest("quick-echo")


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Check that the block ends about when the time limit of a call does."""
    begun = time.monotonic()
    yield
    assert LIMIT_SECONDS * 0.9 < time.monotonic() - begun < MUCH_LONGER_SECONDS / 2


def dripping(whole: bytes, stopped: threading.Event, at_once: int = 0) -> Iterator[Step]:
    """Bytes one by one, over many times the limit."""
    yield whole[:at_once]
    rest = whole[at_once:]
    for index in range(len(rest)):
        if stopped.wait(MUCH_LONGER_SECONDS / len(rest)):
            return
        yield rest[index : index + 1]


def never(stopped: threading.Event) -> Iterator[Step]:
    """No answer as long as the server goes on."""
    stopped.wait()
    yield Action.CLOSE


@pytest.mark.parametrize("at_once", [0, 20, 100], ids=["the status line", "the head", "the body"])
def test_an_answer_that_drips_is_waited_for_no_longer_than_the_limit(at_once: int) -> None:
    def answer(_: Request) -> Iterator[Step]:
        return dripping(JOB, server.stopped, at_once)

    with MisbehavingServer(answer) as server, soon(), pytest.raises(RequestTimedOut) as caught:
        connect(server.url).call(get_job, "job_1", time_limit_seconds=LIMIT_SECONDS)
    assert str(caught.value) == (
        f"GET /jobs/job_1 at {server.url}: no whole answer within 0.4 s. "
        "Is the machine of the runner overloaded, or something else listening there?"
    )


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_the_limit() -> None:
    def answer(_: Request) -> Iterator[Step]:
        return never(server.stopped)

    with MisbehavingServer(answer) as server, soon(), pytest.raises(RequestTimedOut):
        connect(server.url).call(get_job, "job_1", time_limit_seconds=LIMIT_SECONDS)


def test_a_request_that_is_taken_drop_by_drop_is_sent_no_longer_than_the_limit() -> None:
    stopped = threading.Event()

    def take_slowly() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not stopped.wait(0.02) and connection.recv(100_000):
                pass

    body = RunRequest("quick-echo", args=["x" * 20_000_000])
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        threads.submit(take_slowly)
        runner = connect(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with soon(), pytest.raises(RequestTimedOut, match=r"within 0\.4 s"):
            runner.call(
                run_script, body=body, returns=AcceptedJob, time_limit_seconds=LIMIT_SECONDS
            )
        stopped.set()


def test_a_late_answer_is_not_taken_for_that_of_the_next_call() -> None:
    go_on = threading.Event()

    def answer(request: Request) -> Iterator[Step]:
        if request.target == "/jobs/late":
            go_on.wait(20)
        yield json_answer(200, documented("getJob", "failed") | {"jobId": request.target[6:]})

    with MisbehavingServer(answer) as server:
        runner = connect(server.url)
        with pytest.raises(RequestTimedOut):
            runner.call(get_job, "late", time_limit_seconds=0.1)
        go_on.set()
        assert [runner.call(get_job, name).job_id for name in ("one", "two")] == ["one", "two"]


def test_the_limit_of_a_call_is_not_that_of_the_next_one() -> None:
    def answer(_: Request) -> Iterator[Step]:
        server.stopped.wait(0.2)
        yield JOB

    with MisbehavingServer(answer) as server:
        runner = connect(server.url)
        with pytest.raises(RequestTimedOut):
            runner.call(get_job, "job_1", time_limit_seconds=0.05)
        assert runner.call(get_job, "job_1").code == 0


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a server that takes no connection, and does not refuse one either."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_connection_is_waited_for_no_longer_than_its_own_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (failures, transport):
        monkeypatch.setattr(module, "CONNECT_SECONDS", LIMIT_SECONDS)
    with full_backlog() as url, soon(), pytest.raises(RunnerUnreachable) as caught:
        Runner(httpx.URL(url)).call(get_job, "job_1")
    port = url.rpartition(":")[2]
    assert str(caught.value) == (
        f"GET /jobs/job_1 at {url}: no connection within 0.4 s. Is script-runner running there? "
        f"Inside a container use http://host.docker.internal:{port}."
    )


def test_a_connection_is_waited_for_no_longer_than_the_limit_of_the_call() -> None:
    with (
        full_backlog() as url,
        soon(),
        pytest.raises(RunnerUnreachable, match=r"no connection within 0\.4 s"),
    ):
        connect(url).call(get_job, "job_1", time_limit_seconds=LIMIT_SECONDS)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_call_without_time_fails_and_sends_nothing(seconds: float) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        with pytest.raises(RunnerUnreachable):
            connect(server.url).call(get_job, "job_1", time_limit_seconds=seconds)
        assert server.requests == []


@pytest.mark.parametrize("seconds", [float("inf"), 1e12, 2_000_001, float("nan"), 10**400])
def test_a_limit_that_no_socket_takes_is_refused_and_nothing_is_sent(seconds: float) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        with pytest.raises(InvalidInput) as caught:
            connect(server.url).call(get_job, "job_1", time_limit_seconds=seconds)
        assert server.connections == 0
    assert str(caught.value) == (
        f"time_limit_seconds must be a number of seconds, at most 2000000, got {seconds}"
    )


def test_the_longest_limit_is_taken() -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        longest = limits.LONGEST_LIMIT_SECONDS
        assert connect(server.url).call(get_job, "job_1", time_limit_seconds=longest).code == 0


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"3e8\r\n" + b" " * 1000 + b"\r\n"


@pytest.mark.parametrize(
    ("status", "error"), [(200, InvalidResponse), (500, RequestRejected), (418, RequestRejected)]
)
def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    status: int, error: type[ScriptRunnerError], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (answers, limits):
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1024 * 1024)
    sent: list[int] = []

    def answer(_: Request) -> Iterator[Step]:
        yield ENDLESS.replace(b"200", b"%d" % status)
        while not server.stopped.is_set():
            sent.append(len(CHUNK))
            yield CHUNK

    with MisbehavingServer(answer) as server, pytest.raises(error) as caught:
        connect(server.url).call(get_job, "job_1")
    if status == 200:
        assert str(caught.value) == (
            f"GET /jobs/job_1 at {server.url}: answer 200 is larger than 1 MiB. "
            "Is this the URL of a script-runner?"
        )
    assert sum(sent) < 64 * 1024 * 1024


def test_a_packed_answer_that_is_too_large_is_not_unpacked_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (answers, limits):
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1024 * 1024)
    packed = http_answer(200, gzip.compress(b" " * 9_000_000), "Content-Encoding: gzip")
    with (
        MisbehavingServer(lambda _: [packed]) as server,
        pytest.raises(InvalidResponse, match="answer 200 is larger than 1 MiB"),
    ):
        connect(server.url).call(get_job, "job_1")


def test_an_answer_as_large_as_a_page_of_escapes_is_read() -> None:
    page = documented("getJobLogs", "whole")
    size = 1024 * 1024
    page |= {"data": "\0" * size, "nextOffset": size, "totalSize": size}
    with MisbehavingServer(lambda _: [json_answer(200, page)]) as server:
        assert connect(server.url).call(get_job_logs, "job_1").data == "\0" * size


ONCE: dict[str, tuple[Callable[[MisbehavingServer], Iterator[Step]], type[ScriptRunnerError]]] = {
    "reset": (lambda _: iter([Action.RESET]), RunnerUnreachable),
    "closed": (lambda _: iter([Action.CLOSE]), RunnerUnreachable),
    "cut in the head": (lambda _: iter([JOB[:20], Action.CLOSE]), RunnerUnreachable),
    "cut in the body": (lambda _: iter([JOB[:-9], Action.CLOSE]), InvalidResponse),
    "reset in the body": (lambda _: iter([JOB[:-9], Action.RESET]), InvalidResponse),
    "too late": (lambda server: never(server.stopped), RequestTimedOut),
    "too slow": (lambda server: dripping(JOB, server.stopped, 40), RequestTimedOut),
    "unavailable": (lambda _: iter([http_answer(503)]), RequestRejected),
    "redirected": (lambda _: iter([http_answer(307, b"", "Location: /run")]), InvalidResponse),
    "no job": (lambda _: iter([json_answer(200, [])]), InvalidResponse),
}


@pytest.mark.parametrize(("steps", "error"), ONCE.values(), ids=ONCE)
@pytest.mark.parametrize("is_warm", [False, True], ids=["first call", "warm connection"])
def test_a_run_is_sent_once_whatever_comes_of_it(
    steps: Callable[[MisbehavingServer], Iterator[Step]],
    error: type[ScriptRunnerError],
    is_warm: bool,
) -> None:
    def answer(request: Request) -> Iterator[Step]:
        return steps(server) if request.method == "POST" else iter([JOB])

    with MisbehavingServer(answer) as server:
        runner = connect(server.url)
        if is_warm:
            runner.call(get_job, "job_1")
        with pytest.raises(error, match="POST /run at"):
            runner.call(run_script, body=RUN, returns=AcceptedJob, time_limit_seconds=LIMIT_SECONDS)
    assert [request.method for request in server.requests].count("POST") == 1
