"""The URL of a runner: what it may look like, what becomes of its parts, and the proxy for it."""

from __future__ import annotations

import base64
import gc
import socket
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from script_runner import InvalidInput, ScriptRunner, connect
from script_runner._address import address_of
from script_runner._connect import MAX_CONNECTED
from script_runner.oomol import connect as connect_block
from scripts.waiting import wait_until
from tests.script_runner.documented import documented
from tests.script_runner.verbs import Connected
from tests.support.misbehaving_server import MisbehavingServer, json_response

JOB_ID = documented("getJob", "succeeded")["jobId"]


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    """A server that responds to each request with a job."""
    job = json_response(200, documented("getJob", "succeeded"))
    with MisbehavingServer(lambda _: [job]) as server:
        yield server


def test_who_connects_to_a_url_shares_its_runner() -> None:
    assert connect("http://127.0.0.1:4000/a") is connect("http://127.0.0.1:4000/a")
    assert connect("http://127.0.0.1:4000/a") is not connect("http://127.0.0.1:4000/b")
    assert connect("http://any:one@a:4001") is not connect("http://any:two@a:4001")
    assert connect("http://a:4001") is not connect_block({"script_runner_url": "http://a:4001"})
    with ThreadPoolExecutor(30) as threads:
        assert len(set(threads.map(connect, ["http://127.0.0.1:4002"] * 60))) == 1


def test_the_url_is_that_of_a_runner_on_this_machine_by_default() -> None:
    assert connect().url == ScriptRunner().url == connect_block({}).url == "http://localhost:3000"


def test_a_runner_that_is_not_kept_closes_its_connections(server: MisbehavingServer) -> None:
    connect(server.url).status(JOB_ID)
    assert server.open_connections == 1
    for number in range(MAX_CONNECTED):
        connect(f"http://127.0.0.1:{4000 + number}")
    gc.collect()
    wait_until(lambda: not server.open_connections)


SECRET_URLS = {
    "a slash in the password": "http://anyone:s3/cret@localhost:3000",
    "a slash in a password of digits": "http://anyone:12/s3cret@localhost:3000",
    "a question mark in the password": "http://anyone:s3?cret@localhost:3000",
    "a hash in the password": "http://anyone:s3#cret@localhost:3000",
    "credentials without a scheme": "s3cret:x@localhost:3000",
    "credentials and a port that is none": "http://anyone:s3cret@localhost:port",
    "credentials and a query": "http://anyone:s3cret@localhost:3000/?a=b",
}
BAD_URLS: dict[str, object] = SECRET_URLS | {
    "nothing": "",
    "spaces": "   ",
    "no scheme": "localhost:3000",
    "a word": "foo",
    "a path alone": "/jobs",
    "a relative scheme": "//localhost:3000",
    "a file": "file:///etc/passwd",
    "a web socket": "ws://localhost:3000",
    "no host": "http:///jobs",
    "a port alone": "http://:3000",
    "one slash": "http:/localhost:3000",
    "no port in words": "http://localhost:three",
    "an empty part of a name": "http://a..b:3000",
    "a part of a name that is too long": f"http://{'a' * 64}.example",
    "no international name": "http://xn--a",
    "a bracket": "http://[::1",
    "a space in the host": "http://local host:3000",
    "a line break": "http://localhost\n.example:3000",
    "a control character": "http://localhost\x00:3000",
    "half a surrogate pair": "http://\ud800:3000",
    "an empty query": "http://localhost:3000/?",
    "a fragment": "http://localhost:3000/#top",
    "null": None,
    "a number": 3000,
    "a list": ["http://localhost:3000"],
    "bytes": b"http://localhost:3000",
}


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_is_an_invalid_input(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url must be a URL such as http://"):
        connect(url)
    with pytest.raises(InvalidInput, match=r"^url must be a URL such as http://"):
        ScriptRunner(url)


@pytest.mark.parametrize("port", ["\u0663", "3_0", "+80", " 80", "-1", "0", "65536", "80x"])
def test_a_port_that_is_no_plain_number_is_an_invalid_input(port: str) -> None:
    for host in ("localhost", "any:p@localhost", "[::1]"):
        with pytest.raises(InvalidInput, match=r"url must be a URL such as http://"):
            connect(f"http://{host}:{port}/tools")


@pytest.mark.parametrize("url", SECRET_URLS.values(), ids=SECRET_URLS)
def test_nothing_of_a_bad_url_is_shown(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert not [part for part in ("s3", "cret", "anyone") if part in shown]


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", "/jobs/"),
        ("/", "/jobs/"),
        ("/tools/runner/", "/tools/runner/jobs/"),
        ("/a%2Fb", "/a%2Fb/jobs/"),
        ("/a%3Fb%20c", "/a%3Fb%20c/jobs/"),
        ("/a%40b", "/a%40b/jobs/"),
        ("/日", "/%E6%97%A5/jobs/"),
    ],
)
def test_the_prefix_of_a_url_is_kept(server: MisbehavingServer, prefix: str, path: str) -> None:
    connect(server.url + prefix).status(JOB_ID)
    assert server.requests[0].target == path + JOB_ID


@pytest.mark.parametrize(
    ("userinfo", "token", "credentials"),
    [
        ("any:s3cret@", None, "any:s3cret"),
        (":s3cret@", None, ":s3cret"),
        ("s3cret@", None, "s3cret:"),
        ("any:p%40ss%2Fw%C3%B6rd%3A%25@", None, "any:p@ss/wörd:%"),
        ("any:p@ss@", None, "any:p@ss"),
        ("", "tökén /:@%41", "any:tökén /:@%41"),
        ("other:one@", "token", "any:token"),
    ],
)
def test_credentials_go_out_as_basic_authorization(
    server: MisbehavingServer, userinfo: str, token: str | None, credentials: str
) -> None:
    url = f"http://{userinfo}127.0.0.1:{server.port}"
    with ScriptRunner(url, token=token) as runner:
        runner.status(JOB_ID)
    scheme, _, value = server.requests[0].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", credentials)
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("token", ["", 5, "\ud800"])
def test_a_token_that_is_none_is_an_invalid_input(token: str) -> None:
    with pytest.raises(InvalidInput, match=r"^token "):
        ScriptRunner(token=token)


def test_without_credentials_there_is_no_authorization(server: MisbehavingServer) -> None:
    connect(server.url).status(JOB_ID)
    assert "authorization" not in server.requests[0].headers


def test_the_repr_of_a_runner_is_its_url_without_credentials() -> None:
    runner = connect("http://anyone:s3cret@runner.example:3000/tools/")
    assert repr(runner) == "ScriptRunner('http://runner.example:3000/tools')"
    assert runner.url == "http://runner.example:3000/tools"


def test_an_ipv6_address_may_have_a_zone(
    connected: Connected, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    look_up = socket.getaddrinfo

    def note_and_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", note_and_look_up)
    job = json_response(200, documented("getJob", "succeeded"))
    with MisbehavingServer(lambda _: [job], host="::1") as server:
        connected(f"http://[::1%251]:{server.port}").status(JOB_ID)
    # The system would take 251 for a zone, too, of an address that has none.
    assert "::1%1" in asked
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


# -- the proxy of the environment

THIS_MACHINE = [
    "http://127.0.0.1:3000",
    "http://127.1.2.3:3000",
    "http://localhost:3000",
    "http://localhost.:3000",
    "http://runner.localhost:3000",
    "http://[::1]:3000",
    "http://0.0.0.0:3000",
    "http://host.docker.internal:3000",
    "https://localhost:3000",
]


def proxy_of(url: str) -> str | None:
    """The proxy for a URL."""
    proxy = address_of(url, "url").proxy
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize("url", THIS_MACHINE)
def test_no_proxy_is_used_for_this_machine_and_the_host_of_a_container(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:8080")
    assert proxy_of(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_excepted"),
    [
        ("*", "http://a.example", True),
        ("example", "http://a.example", True),
        ("a.example", "http://a.example", True),
        ("a.example", "http://b.a.example", True),
        ("a.example", "http://ba.example", False),
        ("a.example", "http://example", False),
        (".a.example", "http://a.example", True),
        (".a.example", "http://b.a.example", True),
        ("a.example.", "http://a.example", True),
        ("a.example", "http://a.example.", True),
        ("A.Example", "http://a.EXAMPLE", True),
        ("x, a.example", "http://a.example", True),
        ("x a.example", "http://a.example", True),
        ("a.example:3000", "http://a.example:3000", True),
        ("a.example:80", "http://a.example", True),
        ("a.example:3000", "http://a.example:3001", False),
        ("a.example", "https://a.example", True),
        ("a.example:443", "https://a.example", True),
        ("a.example:80", "https://a.example", False),
        ("10.0.0.0/8", "http://10.1.2.3:3000", True),
        ("10.0.0.0/8", "http://11.1.2.3:3000", False),
        ("10.1.2.3/8", "http://10.9.9.9", True),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3", "http://10.1.2.30", False),
        ("2.3", "http://10.1.2.3", False),
        ("10.0.0.0/33", "http://10.1.2.3", False),
        ("fd00::1", "http://[fd00::1]:3000", True),
        ("[fd00::1]", "http://[fd00::1]:3000", True),
        ("[fd00::1]:3000", "http://[fd00::1]:3000", True),
        ("fd00::/8", "http://[fd12:3456::1]", True),
        ("fe80::/10", "http://[fe80::1%25eth0]", True),
        ("FD00:0:0::1", "http://[fd00::1]", True),
        ("fd00::2", "http://[fd00::1]", False),
        ("", "http://a.example", False),
        (".", "http://a.example", False),
        (",", "http://a.example", False),
    ],
)
def test_no_proxy_is_read_as_curl_reads_it(
    no_proxy: str, url: str, is_excepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_of(url) is None) == is_excepted


@pytest.mark.parametrize(
    ("variable", "host"),
    [
        ("HTTP_PROXY", "a.example"),
        ("http_proxy", "b.example"),
        ("ALL_PROXY", "c.example"),
        ("HTTP_PROXY", "[fd00::1]"),
    ],
)
def test_another_machine_is_asked_through_the_proxy(
    variable: str, host: str, server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, server.url)
    connect(f"http://any:token@{host}:3000/tools").status(JOB_ID)
    [request] = server.requests
    assert request.target == f"http://{host}:3000/tools/jobs/{JOB_ID}"
    assert request.headers["authorization"].startswith("Basic ")
    assert "proxy-authorization" not in request.headers


def test_a_proxy_may_have_credentials_and_needs_no_scheme(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"me:p%40ss@127.0.0.1:{server.port}")
    connect("http://credentials.example").status(JOB_ID)
    sent = server.requests[0].headers["proxy-authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")) == b"me:p@ss"


BAD_PROXIES = {
    "socks5://127.0.0.1:1080": "names no http or https proxy",
    "http://": "names no http or https proxy",
    "ftp://proxy.example": "names no http or https proxy",
    "http://any:s3cret@h:99999": "cannot be used, its port is not between 1 and 65535: correct it",
    "h:65536": "cannot be used, its port is not between 1 and 65535",
    "http://h:0": "cannot be used, its port is not between 1 and 65535",
    "http://any:s3cret@a..b:80": "cannot be used, it cannot be read as a URL",
    f"http://{'a' * 64}": "cannot be used, it cannot be read as a URL",
    "http://s3cret:s3cret@a:b:c": "cannot be used, it cannot be read as a URL",
}


@pytest.mark.parametrize(("proxy", "why"), BAD_PROXIES.items())
def test_a_proxy_that_cannot_be_used_is_an_invalid_input(
    proxy: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InvalidInput) as caught:
        connect("http://wrong-proxy.example:3000")
    said = str(caught.value)
    assert said.startswith(f"HTTP_PROXY or ALL_PROXY of the environment {why}")
    assert "NO_PROXY=wrong-proxy.example" in said
    assert "s3cret" not in said


def test_certificates_that_cannot_be_read_are_an_invalid_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(InvalidInput, match=r"SSL_CERT_FILE .* cannot be read: .*No such file"):
        connect("https://certificates.example")


def test_what_is_secret_of_a_url() -> None:
    def secrets(url: str, **options: str) -> set[str]:
        return set(address_of(url, "url", **options).secrets)

    assert secrets("http://host") == set()
    # Who asks is no secret beside a password, and is what lets one in without one.
    header, encoded = "YW55OnMzY3JldC9wYXNz", "czNjcmV0L3Bhc3M"
    both = {"s3cret/pass", "s3cret%2Fpass", header, encoded, f"{encoded}="}
    assert secrets("http://any:s3cret%2Fpass@host") == both
    assert secrets("http://host", token="s3cret/pass") == both
    assert {"t0ken", "dDBrZW46"} <= secrets("http://t0ken@host")
