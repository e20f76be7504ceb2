"""The connections of a runner: kept, shared by threads, not starved, and past which proxy."""

from __future__ import annotations

import base64
import errno
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from generated_client.api.jobs import cancel_job, get_job
from generated_client.models import Job
from script_runner import InvalidInput, RequestRejected, RunnerUnreachable, connect, transport
from script_runner.transport import Transport
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_answer,
    json_answer,
)
from tests.support.waiting import wait_until

JOB = json_answer(200, documented("getJob", "succeeded"))
REFUSED = f"ConnectError: [Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def echo(request: Request) -> Iterator[Step]:
    """The job that was asked for."""
    job_id = request.target.split("/")[2]
    yield json_answer(200, documented("getJob", "succeeded") | {"jobId": job_id})


def test_calls_of_a_thread_share_one_connection() -> None:
    with MisbehavingServer(lambda _: [JOB]) as server:
        for _ in range(5):
            connect(server.url).call(get_job, "job_1")
    assert (len(server.requests), server.connections) == (5, 1)


def test_threads_share_a_runner_and_each_gets_its_own_answer() -> None:
    together = threading.Barrier(60)

    def ask(number: int) -> list[str]:
        together.wait(20)
        return [connect(url).call(get_job, f"{number}-{turn}").job_id for turn in range(5)]

    with MisbehavingServer(echo) as server, ThreadPoolExecutor(60) as threads:
        url = server.url
        answers = list(threads.map(ask, range(60)))
        connections = server.connections
        for number in range(60):
            connect(url).call(get_job, str(number))
        assert server.connections == connections
    assert answers == [[f"{number}-{turn}" for turn in range(5)] for number in range(60)]
    assert connections <= 60 + 300 - transport.MAX_IDLE_CONNECTIONS


def test_only_some_idle_connections_are_kept() -> None:
    everyone_asked = threading.Barrier(60)

    def together(_: Request) -> Iterator[Step]:
        everyone_asked.wait(20)
        yield JOB

    with MisbehavingServer(together) as server, ThreadPoolExecutor(60) as threads:
        list(threads.map(lambda _: connect(server.url).call(get_job, "job_1"), range(60)))
        assert server.connections == 60
        wait_until(lambda: server.open_connections <= transport.MAX_IDLE_CONNECTIONS)


def test_200_calls_that_wait_do_not_keep_a_cancel_from_being_sent() -> None:
    released = threading.Event()

    def answer(request: Request) -> Iterator[Step]:
        if request.method == "GET":
            released.wait(20)
        yield JOB

    with MisbehavingServer(answer) as server, ThreadPoolExecutor(200) as threads:
        runner = connect(server.url)
        waiting = [threads.submit(runner.call, get_job, "job_1") for _ in range(200)]
        wait_until(lambda: len(server.requests) == 200)
        job = runner.call(cancel_job, "job_1", time_limit_seconds=10)
        assert isinstance(job, Job)
        assert not any(call.done() for call in waiting)
        released.set()
        assert [call.result() for call in waiting] == [job] * 200


def test_an_idle_connection_that_the_server_closed_is_no_error_at_the_next_call() -> None:
    with MisbehavingServer(lambda _: [JOB, Action.CLOSE]) as server:
        for number in range(1, 4):
            connect(server.url).call(get_job, "job_1")
            wait_until(lambda: not server.open_connections)
            assert server.connections == number


def test_a_connection_is_idle_for_less_time_than_servers_keep_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert transport.KEEP_ALIVE_SECONDS < 5
    monkeypatch.setattr(transport, "KEEP_ALIVE_SECONDS", 0.0)
    with MisbehavingServer(lambda _: [JOB]) as server:
        for _ in range(3):
            connect(server.url).call(get_job, "job_1")
    assert server.connections == 3


THIS_MACHINE = [
    "http://127.0.0.1:3000",
    "http://127.1.2.3:3000",
    "http://localhost:3000",
    "http://runner.localhost:3000",
    "http://[::1]:3000",
    "http://0.0.0.0:3000",
    "http://host.docker.internal:3000",
    "https://localhost:3000",
]


@pytest.mark.parametrize("url", THIS_MACHINE)
def test_no_proxy_is_used_for_this_machine_and_the_host_of_a_container(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXY_VARIABLES[:3]:
        monkeypatch.setenv(name, "http://proxy.example:8080")
    assert Transport(httpx.URL(url)).proxy is None


def test_a_runner_on_this_machine_is_asked_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(echo) as proxy, MisbehavingServer(echo) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        connect(server.url).call(get_job, "job_1")
        assert (len(server.requests), proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    ("variable", "host"),
    [("HTTP_PROXY", "a.example"), ("http_proxy", "b.example"), ("ALL_PROXY", "c.example")],
)
def test_another_machine_is_asked_through_the_proxy(
    variable: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer(lambda _: [JOB]) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        connect(f"http://any:token@{host}:3000/tools").call(get_job, "job_1")
    [request] = proxy.requests
    assert request.target == f"http://{host}:3000/tools/jobs/job_1"
    assert request.headers["authorization"].startswith("Basic ")
    assert "proxy-authorization" not in request.headers


def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(lambda _: [JOB]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        connect("http://no-scheme.example").call(get_job, "job_1")
    assert len(proxy.requests) == 1


def test_a_proxy_gets_its_own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(lambda _: [JOB]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://m%C3%BCller:s3cret@127.0.0.1:{proxy.port}")
        connect("http://credentials.example").call(get_job, "job_1")
    _, _, value = proxy.requests[0].headers["proxy-authorization"].partition(" ")
    assert base64.b64decode(value).decode() == "müller:s3cret"


@pytest.mark.parametrize("rule", ["runner.example", ".example", "other,runner.example:3000", "*"])
def test_a_host_of_no_proxy_is_asked_past_the_proxy(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", rule)
    assert Transport(httpx.URL("http://runner.example:3000")).proxy is None


def test_an_error_names_the_proxy_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer(lambda _: []) as gone:
        pass
    monkeypatch.setenv("HTTP_PROXY", f"http://any:s3cret@127.0.0.1:{gone.port}")
    with pytest.raises(RunnerUnreachable) as caught:
        connect("http://down.example:3000").call(get_job, "job_1")
    assert str(caught.value) == (
        f"GET /jobs/job_1 at http://down.example:3000 through the proxy {gone.url}: "
        f"no connection ({REFUSED}). Is script-runner running there? "
        "Inside a container use http://host.docker.internal:3000."
    )


def test_a_proxy_that_refuses_to_connect_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MisbehavingServer(lambda _: [http_answer(407)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(RunnerUnreachable, match=r"no connection \(ProxyError: 407 Said\)"):
            connect("https://runner.example:3000").call(get_job, "job_1")
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert proxy.requests[0].target == "runner.example:3000"


def test_a_proxy_that_repeats_its_credentials_is_shown_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(request: Request) -> list[Step]:
        sent = request.headers["proxy-authorization"]
        if request.method == "CONNECT":
            return [f"HTTP/1.1 407 {sent} s3cret/pass\r\nContent-Length: 0\r\n\r\n".encode()]
        return [http_answer(407, f"you sent {sent} s3cret%2Fpass".encode())]

    with MisbehavingServer(answer) as proxy:
        url = proxy.url.replace("//", "//any:s3cret%2Fpass@")
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(RunnerUnreachable, match=r"\(ProxyError: 407 Basic … …\)\. "):
            connect("https://echo.example").call(get_job, "job_1")
        with pytest.raises(RequestRejected, match=r' \("you sent Basic … …"\)\. '):
            connect("http://echo.example").call(get_job, "job_1")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://", "ftp://proxy.example"])
def test_a_proxy_that_cannot_be_used_is_an_invalid_input(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InvalidInput, match=r"HTTP_PROXY or ALL_PROXY .* NO_PROXY=socks\.example"):
        connect("http://socks.example:3000")


@pytest.mark.parametrize("proxy", ["http://s3cret:s3cret@a:b:c", "http://s3cret\x00"])
def test_nothing_of_a_proxy_that_cannot_be_read_is_shown(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": proxy})
    with pytest.raises(InvalidInput, match="cannot be read as a URL") as caught:
        connect("http://unreadable.example:3000")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("http://any:s3cret@h:99999", "its port is not between 1 and 65535"),
        ("h:65536", "its port is not between 1 and 65535"),
        ("http://h:0", "its port is not between 1 and 65535"),
        ("http://h:-1", "its port is not between 1 and 65535"),
        ("http://any:s3cret@a..b:80", "it cannot be read as a URL"),
        (f"http://{'a' * 64}", "it cannot be read as a URL"),
    ],
)
def test_a_proxy_that_cannot_be_asked_is_an_invalid_input(
    proxy: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(InvalidInput) as caught:
        connect("http://wrong-proxy.example:3000")
    assert str(caught.value) == (
        f"HTTP_PROXY or ALL_PROXY of the environment cannot be used, {why}: correct it, or go "
        "around it with NO_PROXY=wrong-proxy.example"
    )


def test_certificates_that_cannot_be_read_are_an_invalid_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(InvalidInput, match=r"SSL_CERT_FILE .* cannot be read: .*No such file"):
        connect("https://certificates.example")


def test_a_runner_without_tls_is_unreachable_by_https() -> None:
    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(http_answer(400))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        refused = threads.submit(refuse)
        with pytest.raises(RunnerUnreachable, match=r"no connection \(ConnectError: \[SSL"):
            connect(f"https://127.0.0.1:{listener.getsockname()[1]}").call(get_job, "job_1")
        refused.result()
