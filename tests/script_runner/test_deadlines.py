"""How long a call may take as a whole, how large a response may be; a run is sent once."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from generated_client.api.jobs import get_job, run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
    Settings,
    connect,
)
from tests.script_runner.documented import documented
from tests.script_runner.page_server import asked_job, page_for
from tests.script_runner.verbs import Connected
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_response,
    json_response,
)

JOB_ID = documented("getJob", "succeeded")["jobId"]
JOB = json_response(200, documented("getJob", "succeeded"))
LIMIT_SECONDS = 0.4
MUCH_LONGER_SECONDS = 20.0
SHORT = Settings(
    response_seconds=LIMIT_SECONDS, sync_run_seconds=LIMIT_SECONDS, max_response_bytes=1024 * 1024
)


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Check that the block ends about when the timeout of a call does."""
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
    """No response as long as the server goes on."""
    stopped.wait()
    yield Action.CLOSE


@pytest.mark.parametrize("at_once", [0, 20, 100], ids=["the status line", "the head", "the body"])
def test_a_response_that_drips_is_waited_for_no_longer_than_the_timeout(
    connected: Connected, at_once: int
) -> None:
    with MisbehavingServer(lambda _: dripping(JOB, server.stopped, at_once)) as server:
        runner = connected(server.url, timeout=LIMIT_SECONDS)
        with soon(), pytest.raises(RequestTimedOut) as caught:
            runner.status("job_1")
    assert str(caught.value) == (
        f"GET /jobs/job_1 at {server.url}: no whole response within 0.4 s. "
        "Is the machine of the runner overloaded, or something else listening there?"
    )


def test_a_response_that_never_comes_is_waited_for_no_longer_than_the_timeout(
    connected: Connected,
) -> None:
    with MisbehavingServer(lambda _: never(server.stopped)) as server:
        runner = connected(server.url)
        with soon(), pytest.raises(RequestTimedOut):
            runner.call(get_job, "job_1", timeout=LIMIT_SECONDS)
        with soon(), pytest.raises(RequestTimedOut) as caught:
            runner.run("say", timeout=LIMIT_SECONDS)
    assert str(caught.value) == (
        f"POST /run at {server.url}: no whole response within 0.4 s. The script may still be "
        "running: find the newest job of say with `scriptctl jobs`, on the runner's page or in its "
        "jobs.json. For a long script use start() and wait()."
    )


def test_a_request_that_is_taken_drop_by_drop_is_sent_no_longer_than_the_timeout(
    connected: Connected,
) -> None:
    stopped = threading.Event()

    def take_slowly() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not stopped.wait(0.02) and connection.recv(100_000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        threads.submit(take_slowly)
        runner = connected(f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            # To write so much as JSON takes a busy machine a while, too.
            with pytest.raises(RequestTimedOut, match=r"no whole response within 1\.5 s"):
                runner.run("say", "x" * 20_000_000, timeout=1.5)
        finally:
            stopped.set()


def test_a_late_response_is_not_taken_for_that_of_the_next_call(connected: Connected) -> None:
    go_on = threading.Event()

    def respond(request: Request) -> Iterator[Step]:
        if request.target == "/jobs/late":
            go_on.wait(20)
        yield json_response(200, documented("getJob", "failed") | {"jobId": asked_job(request)})

    with MisbehavingServer(respond) as server:
        runner = connected(server.url)
        with pytest.raises(RequestTimedOut):
            runner.call(get_job, "late", timeout=0.1)
        go_on.set()
        # The timeout of that call is not that of the next ones.
        assert [runner.status(name).job_id for name in ("one", "two")] == ["one", "two"]


@pytest.mark.parametrize("seconds", [float("inf"), 1e12, 2_000_001, float("nan"), 10**400, -1, "1"])
def test_a_timeout_that_no_socket_takes_is_refused_and_nothing_is_sent(
    connected: Connected, seconds: float
) -> None:
    said = "timeout must be a number of seconds, 0 or more, at most 2000000, got "
    with MisbehavingServer(lambda _: [JOB]) as server:
        with pytest.raises(InvalidInput, match=said):
            connected(server.url).call(get_job, JOB_ID, timeout=seconds)
        with pytest.raises(InvalidInput, match=said):
            connected(server.url, timeout=seconds).status(JOB_ID)
        assert server.connections == 0


def test_the_shortest_and_the_longest_timeout(connected: Connected) -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        runner = connected(server.url)
        with pytest.raises(RunnerUnreachable):
            runner.call(get_job, JOB_ID, timeout=0)
        assert server.requests == []
        assert runner.call(get_job, JOB_ID, timeout=2_000_000).code == 0


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"3e8\r\n" + b" " * 1000 + b"\r\n"


@pytest.mark.parametrize(
    ("status", "error"), [(200, InvalidResponse), (500, RequestRejected), (418, RequestRejected)]
)
def test_a_response_that_is_too_large_is_not_read_to_its_end(
    connected: Connected, status: int, error: type[ScriptRunnerError]
) -> None:
    sent: list[int] = []

    def respond(_: Request) -> Iterator[Step]:
        yield ENDLESS.replace(b"200", b"%d" % status)
        while not server.stopped.is_set():
            sent.append(len(CHUNK))
            yield CHUNK

    settings = Settings(max_response_bytes=1024 * 1024)
    with MisbehavingServer(respond) as server, pytest.raises(error) as caught:
        connected(server.url, settings=settings).status("job_1")
    if status == 200:
        assert str(caught.value) == (
            f"GET /jobs/job_1 at {server.url}: response 200 is larger than 1 MiB. "
            "Is this the URL of a script-runner?"
        )
    assert sum(sent) < 64 * 1024 * 1024


def test_a_packed_response_that_is_too_large_is_not_unpacked_to_its_end(
    connected: Connected,
) -> None:
    packed = http_response(200, gzip.compress(b" " * 9_000_000), "Content-Encoding: gzip")
    with (
        MisbehavingServer(lambda _: [packed]) as server,
        pytest.raises(InvalidResponse, match="response 200 is larger than 1 MiB"),
    ):
        connected(server.url, settings=SHORT).status("job_1")


def test_a_response_as_large_as_a_page_of_escapes_is_read() -> None:
    raw = b"\0" * 1024 * 1024
    with MisbehavingServer(lambda request: [json_response(200, page_for(request, raw))]) as server:
        assert connect(server.url).lines("job_1").lines == [raw.decode()]


ONCE: dict[str, tuple[Callable[[MisbehavingServer], Iterator[Step]], type[ScriptRunnerError]]] = {
    "reset": (lambda _: iter([Action.RESET]), RunnerUnreachable),
    "closed": (lambda _: iter([Action.CLOSE]), RunnerUnreachable),
    "cut in the head": (lambda _: iter([JOB[:20], Action.CLOSE]), RunnerUnreachable),
    "cut in the body": (lambda _: iter([JOB[:-9], Action.CLOSE]), InvalidResponse),
    "reset in the body": (lambda _: iter([JOB[:-9], Action.RESET]), InvalidResponse),
    "too late": (lambda server: never(server.stopped), RequestTimedOut),
    "too slow": (lambda server: dripping(JOB, server.stopped, 40), RequestTimedOut),
    "unavailable": (lambda _: iter([http_response(503)]), RequestRejected),
    "redirected": (lambda _: iter([http_response(307, b"", "Location: /run")]), InvalidResponse),
    "no job": (lambda _: iter([json_response(200, [])]), InvalidResponse),
}


@pytest.mark.parametrize(("steps", "error"), ONCE.values(), ids=ONCE)
def test_a_run_is_sent_once_whatever_comes_of_it_also_on_a_warm_connection(
    connected: Connected,
    steps: Callable[[MisbehavingServer], Iterator[Step]],
    error: type[ScriptRunnerError],
) -> None:
    def respond(request: Request) -> Iterator[Step]:
        return steps(server) if request.method == "POST" else iter([JOB])

    body = RunRequest("say")
    with MisbehavingServer(respond) as server:
        # Short only if nothing else ends the call: a busy machine may take as long for the others.
        settings = SHORT if error is RequestTimedOut else Settings()
        runner = connected(server.url, settings=settings)
        for number in (1, 2):
            with pytest.raises(error, match="POST /run at"):
                runner.call(run_script, body=body, returns=AcceptedJob)
            assert [request.method for request in server.requests].count("POST") == number
            if number == 1:
                runner.status(JOB_ID)
