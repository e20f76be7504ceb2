"""The connections of a runner: kept, shared, not starved, closed in time, and through a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest

from script_runner import (
    AsyncScriptRunner,
    RequestRejected,
    RunnerUnreachable,
    ScriptRunner,
    Settings,
    connect,
)
from scripts.waiting import wait_until
from tests.script_runner.documented import documented
from tests.script_runner.page_server import asked_job
from tests.script_runner.threads import refuse_threads
from tests.script_runner.verbs import Connected
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_response,
    json_response,
)

REFUSED = f"ConnectError: [Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
MAX_IDLE = Settings().max_idle_connections


def job_for(request: Request) -> bytes:
    """The job that was asked for."""
    return json_response(200, documented("getJob", "succeeded") | {"jobId": asked_job(request)})


def echo(request: Request) -> Iterator[Step]:
    """Respond with the job that was asked for."""
    yield job_for(request)


def test_calls_one_after_another_share_a_connection(connected: Connected) -> None:
    with MisbehavingServer(echo) as server:
        runner = connected(server.url)
        for number in range(5):
            assert runner.status(str(number)).job_id == str(number)
        assert (len(server.requests), server.connections) == (5, 1)


def test_threads_share_a_runner_and_each_gets_its_own_response() -> None:
    together = threading.Barrier(60)

    def ask(number: int) -> list[str]:
        together.wait(20)
        return [connect(url).status(f"{number}-{turn}").job_id for turn in range(5)]

    with MisbehavingServer(echo) as server, ThreadPoolExecutor(60) as threads:
        url = server.url
        responses = list(threads.map(ask, range(60)))
        assert responses == [[f"{number}-{turn}" for turn in range(5)] for number in range(60)]
        wait_until(lambda: server.open_connections <= MAX_IDLE)
        connections = server.connections
        for number in range(60):
            connect(url).status(str(number))
        assert server.connections == connections


async def test_tasks_share_a_runner_and_each_gets_its_own_response() -> None:
    with MisbehavingServer(echo) as server:
        async with AsyncScriptRunner(server.url) as runner:
            jobs = await asyncio.gather(*(runner.status(str(number)) for number in range(60)))
        assert [job.job_id for job in jobs] == [str(number) for number in range(60)]


def test_200_calls_that_wait_do_not_keep_a_cancel_from_being_sent() -> None:
    released = threading.Event()

    def respond(request: Request) -> Iterator[Step]:
        if request.method == "GET":
            released.wait(20)
        yield job_for(request)

    with MisbehavingServer(respond) as server, ThreadPoolExecutor(200) as threads:
        runner = connect(server.url)
        waiting = [threads.submit(runner.status, "job_1") for _ in range(200)]
        wait_until(lambda: len(server.requests) == 200)
        assert runner.cancel("job_1").job_id == "job_1"
        assert not any(call.done() for call in waiting)
        released.set()
        assert {call.result().job_id for call in waiting} == {"job_1"}


def test_an_idle_connection_that_the_server_closed_is_no_error_at_the_next_call(
    connected: Connected,
) -> None:
    with MisbehavingServer(lambda request: [job_for(request), Action.CLOSE]) as server:
        runner = connected(server.url)
        for number in range(1, 4):
            runner.status("job_1")
            wait_until(lambda: not server.open_connections)
            assert server.connections == number


def test_idle_connections_are_dropped_before_servers_drop_them() -> None:
    assert Settings().keep_alive_seconds < 5
    with (
        MisbehavingServer(echo) as server,
        ScriptRunner(server.url, settings=Settings(keep_alive_seconds=0)) as runner,
    ):
        for _ in range(3):
            runner.status("job_1")
        assert server.connections == 3


QUICK = Settings(keep_alive_seconds=0.1)


def test_an_idle_connection_is_closed_although_no_other_call_comes() -> None:
    """Not left half closed (CLOSE_WAIT) once the server has gone."""
    with ScriptRunner("http://127.0.0.1:1", settings=QUICK), MisbehavingServer(echo) as server:
        runner = ScriptRunner(server.url, settings=QUICK)
        runner.status("job_1")
        wait_until(lambda: not connections_to(server.port))


async def test_an_idle_connection_of_asyncio_is_closed_although_no_other_call_comes() -> None:
    with MisbehavingServer(echo) as server:
        async with AsyncScriptRunner(server.url, settings=QUICK) as runner:
            await runner.status("job_1")
            for _ in range(1000):
                if not connections_to(server.port):
                    break
                await asyncio.sleep(0.01)
            assert connections_to(server.port) == []


def test_a_connection_that_no_thread_can_close_later_is_closed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MisbehavingServer(echo) as server, ScriptRunner(server.url) as runner:
        with monkeypatch.context() as patch:
            refuse_threads(patch, threading.current_thread().name)
            runner.status("job_1")
            assert connections_to(server.port) == []
        runner.status("job_1")
        runner.status("job_1")
        assert server.connections == 2


def test_a_connection_is_closed_in_time_although_the_thread_of_another_call_could_not_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Event()
    with (
        MisbehavingServer(echo) as server,
        ThreadPoolExecutor(1, "refused") as threads,
        ScriptRunner(server.url, settings=QUICK) as runner,
    ):
        tried = refuse_threads(monkeypatch, "refused", kept)
        other = threads.submit(runner.status, "job_1")
        assert tried.wait(20)
        runner.status("job_2")
        kept.set()
        other.result()
        wait_until(lambda: not connections_to(server.port))


def test_a_name_that_no_thread_can_look_up_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    runner = connected("http://localhost:1")
    with monkeypatch.context() as patch:
        refuse_threads(patch)
        with pytest.raises(RunnerUnreachable, match="can't start new thread"):
            runner.status("job_1")


def connections_to(port: int) -> list[str]:
    """The states of this process's own connections to a port of this machine."""
    return [
        each.status
        for each in psutil.Process().net_connections("tcp")
        if each.raddr and each.raddr.port == port
    ]


# -- addresses and names


def full_backlog(stack_of: list[socket.socket], host: str, port: int = 0) -> int:
    """Listen such that no connection is taken, and none refused; returns the port."""
    listener = socket.socket()
    stack_of.append(listener)
    listener.bind((host, port))
    listener.listen(0)
    for _ in range(8):
        waiting = socket.socket()
        stack_of.append(waiting)
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return int(listener.getsockname()[1])


@pytest.fixture
def silent() -> Iterator[list[socket.socket]]:
    """Sockets that are closed after the test."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def found_at(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let the name many.localhost be found at these addresses."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("many.localhost", b"many.localhost"):
            return real(host, port, *rest, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_the_timeout_of_a_connection_counts_for_all_addresses_together(
    silent: list[socket.socket], monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 11)]
    port = full_backlog(silent, hosts[0])
    for host in hosts[1:]:
        full_backlog(silent, host, port)
    found_at(monkeypatch, *hosts)
    runner = connected(f"http://many.localhost:{port}", settings=Settings(connect_seconds=0.5))
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(runner.status, "job_1")
        # Ten times 0.5 s is the room that a busy machine has.
        with pytest.raises(RunnerUnreachable, match=r"no connection within 0\.5 s"):
            call.result(4)


def test_an_address_that_does_not_respond_leaves_time_for_the_next_one(
    silent: list[socket.socket], monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    with MisbehavingServer(echo) as server:
        full_backlog(silent, "127.0.0.2", server.port)
        found_at(monkeypatch, "127.0.0.2", "127.0.0.1")
        settings = Settings(connect_seconds=2)
        runner = connected(f"http://many.localhost:{server.port}", settings=settings)
        assert runner.status("job_1").job_id == "job_1"


def test_a_name_that_is_not_found_in_time_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        released.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    settings = Settings(connect_seconds=0.2)
    with (
        ScriptRunner("http://slow.example", settings=settings) as runner,
        pytest.raises(RunnerUnreachable, match=r"no connection within 0\.2 s"),
    ):
        runner.status("job_1")
    released.set()


def test_a_host_that_does_not_exist_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for host, hint in (
        ("nowhere.example", ""),
        ("nowhere.localhost", " Inside a container use https://host.docker.internal:443."),
    ):
        with pytest.raises(RunnerUnreachable) as caught:
            connect(f"https://{host}").status("job_1")
        assert str(caught.value) == (
            f"GET /jobs/job_1 at https://{host}: no connection (ConnectError: [Errno -2] "
            f"Name or service not known). Is script-runner running there?{hint}"
        )


def test_a_port_where_nothing_listens_is_an_unreachable_runner(connected: Connected) -> None:
    with MisbehavingServer(echo) as gone:
        pass
    with pytest.raises(RunnerUnreachable) as caught:
        connected(gone.url + "/tools").status("job_1")
    assert str(caught.value).startswith(
        f"GET /tools/jobs/job_1 at {gone.url}/tools: no connection (ConnectError: "
    )
    assert str(caught.value).endswith(
        "). Is script-runner running there? "
        f"Inside a container use http://host.docker.internal:{gone.port}."
    )


def test_a_runner_without_tls_is_unreachable_by_https(connected: Connected) -> None:
    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(http_response(400))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        refused = threads.submit(refuse)
        said = r"no connection \(ConnectError: \[SSL: .*\)\. .* use http:// in its URL\.$"
        with pytest.raises(RunnerUnreachable, match=said):
            connected(f"https://127.0.0.1:{listener.getsockname()[1]}").status("job_1")
        refused.result()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate that nobody trusts, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    path = tmp_path / "own.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=own "
    options = f"-addext subjectAltName=IP:127.0.0.1,IP:fd00::1 -out {path} -keyout {path}.key"
    subprocess.run((make + options).split(), check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.key").read_bytes())
    return path


def secured(connection: socket.socket, certificate: Path) -> ssl.SSLSocket:
    """The server's end of a connection with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context.wrap_socket(connection, server_side=True)


def test_a_certificate_that_is_not_trusted_can_be_named(
    connected: Connected, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with secured(connection, certificate) as secure:
                secure.recv(65536)
                secure.sendall(json_response(200, documented("getJob", "succeeded")))

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        served = threads.submit(serve)
        with pytest.raises(RunnerUnreachable, match=r"If you trust it, set SSL_CERT_FILE to "):
            connected(url).status("job_1")
        served.result()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        served = threads.submit(serve)
        # A client keeps what it trusts.
        with ScriptRunner(url) as runner:
            job_id = documented("getJob", "succeeded")["jobId"]
            assert runner.status(job_id).status == "succeeded"
        served.result()


# -- through a proxy


def test_a_runner_on_this_machine_is_asked_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    with MisbehavingServer(echo) as proxy, MisbehavingServer(echo) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        connected(server.url).status("job_1")
        assert (len(server.requests), proxy.connections) == (1, 0)


def test_a_proxy_is_asked_over_a_warm_connection(
    monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    with MisbehavingServer(echo) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        runner = connected("http://runner.example")
        for _ in range(3):
            runner.status("job_1")
        assert (len(proxy.requests), proxy.connections) == (3, 1)


def test_an_error_names_the_proxy_without_its_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with MisbehavingServer(echo) as gone:
        pass
    monkeypatch.setenv("HTTP_PROXY", f"http://any:s3cret@127.0.0.1:{gone.port}")
    with pytest.raises(RunnerUnreachable) as caught:
        connect("http://down.example:3000").status("job_1")
    assert str(caught.value) == (
        f"GET /jobs/job_1 at http://down.example:3000 through the proxy {gone.url}: "
        f"no connection ({REFUSED}). Is script-runner running there?"
    )


def test_a_proxy_that_refuses_to_connect_is_an_unreachable_runner(
    monkeypatch: pytest.MonkeyPatch, connected: Connected
) -> None:
    with MisbehavingServer(lambda _: [http_response(407)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(RunnerUnreachable, match=r"no connection \(ProxyError: 407 Said\)"):
            connected("https://runner.example:3000").status("job_1")
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert proxy.requests[0].target == "runner.example:3000"


def test_an_ipv6_address_is_reached_with_tls_through_a_proxy(
    connected: Connected, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tunnel() -> bytes:
        connection, _ = listener.accept()
        asked = connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with secured(connection, certificate) as secure:
            secure.recv(65536)
            secure.sendall(json_response(200, documented("getJob", "succeeded")))
        return asked

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        asked = threads.submit(tunnel)
        job_id = documented("getJob", "succeeded")["jobId"]
        assert connected("https://[fd00::1]:3000").status(job_id).status == "succeeded"
    head = b"CONNECT [fd00::1]:3000 HTTP/1.1\r\nHost: [fd00::1]:3000\r\n"
    assert asked.result().startswith(head)


def test_a_proxy_that_repeats_its_credentials_is_shown_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def respond(request: Request) -> list[Step]:
        sent = request.headers["proxy-authorization"]
        if request.method == "CONNECT":
            return [f"HTTP/1.1 407 {sent} s3cret/pass\r\nContent-Length: 0\r\n\r\n".encode()]
        return [http_response(407, f"you sent {sent} s3cret%2Fpass".encode())]

    with MisbehavingServer(respond) as proxy:
        url = proxy.url.replace("//", "//any:s3cret%2Fpass@")
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(RunnerUnreachable, match=r"\(ProxyError: 407 Basic … …\)\. "):
            connect("https://echo.example").status("job_1")
        with pytest.raises(RequestRejected, match=r' \("you sent Basic … …"\)\. The proxy of the'):
            connect("http://echo.example").status("job_1")


def test_a_connection_on_which_more_came_is_not_used_again(connected: Connected) -> None:
    def respond(request: Request) -> list[Step]:
        stranger = json_response(200, documented("getJob", "failed") | {"jobId": "other"})
        return [job_for(request) + stranger]

    with MisbehavingServer(respond) as server:
        runner = connected(server.url)
        assert [runner.status(name).job_id for name in ("one", "two")] == ["one", "two"]
        assert server.connections == 2


def test_limits_are_settings() -> None:
    settings = replace(Settings(), max_idle_connections=1)
    together = threading.Barrier(4)

    def respond(request: Request) -> Iterator[Step]:
        together.wait(20)
        yield job_for(request)

    with MisbehavingServer(respond) as server, ThreadPoolExecutor(4) as threads:
        runner = ScriptRunner(server.url, settings=settings)
        list(threads.map(runner.status, ["job_1"] * 4))
        wait_until(lambda: server.open_connections == 1)
        runner.close()


# Who does not close a client leaves the connections of its event loop to be collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_of_asyncio_begins_anew_in_another_event_loop() -> None:
    with MisbehavingServer(echo) as server:
        runner = AsyncScriptRunner(server.url)

        async def twice() -> list[str]:
            return [(await runner.status(name)).job_id for name in ("one", "two")]

        for connections in (1, 2):
            assert asyncio.run(twice()) == ["one", "two"]
            assert server.connections == connections
            # None of an event loop that is closed stays half closed until the next call.
            gc.collect()
            assert connections_to(server.port) == []
        asyncio.run(runner.close())


def test_each_of_two_event_loops_closes_its_own_connections_in_time() -> None:
    with MisbehavingServer(echo) as server, asyncio.Runner() as one, asyncio.Runner() as other:
        runner = AsyncScriptRunner(server.url, settings=QUICK)
        for loop in (one, other, one, other):
            loop.run(runner.status("job_1"))
        for _ in range(1000):
            for loop in (one, other):
                loop.run(asyncio.sleep(0.01))
            if not connections_to(server.port):
                break
        assert connections_to(server.port) == []
