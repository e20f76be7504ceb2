"""Provokes every message about what cannot be sent: inputs, URLs, proxies, certificates."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from unittest import mock

from generated_client.api.jobs import get_job
from script_runner import connect
from tests.docs.messages import (
    CREDENTIAL,
    Message,
    Named,
    free_port,
    said_by,
    with_credential,
)
from tests.support.block_runner import run_block
from tests.support.misbehaving_server import Action, MisbehavingServer, http_answer

JOB_ID = "job_1"


def input_messages() -> dict[str, Message]:
    """Every message, by a name that says how it was provoked."""
    return {name: message for source in (inputs, urls, environments) for name, message in source()}


BAD_INPUTS: dict[str, tuple[str, dict[str, object], str]] = {
    "no id": ("get-job-status", {}, "job_id"),
    "an empty id": ("get-job-status", {"job_id": ""}, "job_id"),
    "a number as id": ("get-job-status", {"job_id": 5.0}, "job_id"),
    "a huge number as id": ("get-job-status", {"job_id": 10**5000}, "job_id"),
    "an object as id": ("cancel-job", {"job_id": {}}, "job_id"),
    "half a surrogate pair in an id": ("get-job-status", {"job_id": "\ud800"}, "job_id"),
    "no script": ("run-script-async", {"script_id": None}, "script_id"),
    "a text as args": ("run-script-sync", {"script_id": "a", "args": "b"}, "args"),
    "a number in args": ("run-script-sync", {"script_id": "a", "args": ["b", 1]}, "args[1]"),
    "half a surrogate pair in args": (
        "run-script-sync",
        {"script_id": "a", "args": ["b", "\udc00"]},
        "args[1]",
    ),
    "a negative offset": ("get-job-logs", {"job_id": JOB_ID, "offset": -1}, "offset"),
    "an offset with a fraction": ("get-job-logs", {"job_id": JOB_ID, "offset": 0.5}, "offset"),
    "a limit of 0": ("get-job-logs", {"job_id": JOB_ID, "limit": 0}, "limit"),
    "a limit that is true": ("get-job-logs", {"job_id": JOB_ID, "limit": True}, "limit"),
    "an unknown stream": ("get-job-logs", {"job_id": JOB_ID, "stream": "both"}, "stream"),
    "a negative time": (
        "wait-for-job",
        {"job_id": JOB_ID, "timeout_seconds": -1},
        "timeout_seconds",
    ),
    "a time without end": (
        "wait-for-job",
        {"job_id": JOB_ID, "timeout_seconds": float("inf")},
        "timeout_seconds",
    ),
    "a long text as time": (
        "wait-for-job",
        {"job_id": JOB_ID, "timeout_seconds": "a" * 999},
        "timeout_seconds",
    ),
    "a number as URL": (
        "cancel-job",
        {"job_id": "a", "script_runner_url": 3000},
        "script_runner_url",
    ),
}


def inputs() -> Named:
    """Inputs of blocks that cannot be sent."""
    for name, (block, values, handle) in BAD_INPUTS.items():
        yield name, Message(said_by(run_block, block, **values), (handle,))
    url = "http://unsendable.example"
    for name, job_id in (("an id that is no UTF-8", "\ud800"), ("a long id", "a" * 10**6)):
        text = said_by(connect(with_credential(url)).call, get_job, job_id)
        yield f"{name}, past the checks of a block", Message(text, (url,))
    text = said_by(connect(url).call, get_job, JOB_ID, time_limit_seconds=float("inf"))
    yield "a time limit without end", Message(text, ("time_limit_seconds", "inf"))


BAD_URLS = [
    "ftp://any:{}@host", "any:{}@host:3000", "http://", "http://any:{}@", "http://any:{}@host?x=1",
    "http://any:{}@host#x", "http://any:{}@host/a@b", "http://any:{}@ho st", "http://any:{}@host:0",
    "http://any:{}@host:65536", "http://any:{}@[::1", "http://any:{}@a..b", "http://any:/{}@host",
    "http://any:?{}@host", "http://any:{}@host:port", "http://any:{}@" + "a" * 64, "", "\0",
]  # fmt: skip


def urls() -> Named:
    """URLs that cannot be asked."""
    for url in BAD_URLS:
        text = said_by(connect, url.format(CREDENTIAL))
        yield f"connect({url!r})", Message(text, ("script_runner_url",))


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables, and no other that has to do with proxies and certificates."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("SSL_CERT_")
    }
    with mock.patch.dict(os.environ, {**kept, **variables}, clear=True):
        yield


def environments() -> Named:
    """Proxies and certificates of the environment that cannot be used, and a proxy that is away."""
    away = f"http://127.0.0.1:{free_port()}"
    for value in (
        "http://any:{}@proxy.example:port",
        "http://any:{}@proxy.example:99999",
        "socks5://any:{}@proxy.example",
        "http://",
    ):
        with environment(HTTP_PROXY=value.format(CREDENTIAL)):
            text = said_by(connect, "http://needs-a-proxy.example")
        yield f"HTTP_PROXY={value}", Message(text, ("HTTP_PROXY",))
    with environment(SSL_CERT_FILE="/nowhere/certificates.pem"):
        text = said_by(connect, "https://needs-certificates.example")
    yield "SSL_CERT_FILE", Message(text, ("SSL_CERT_FILE",), ends_with_a_reason=True)
    with environment(HTTP_PROXY=with_credential(away)):
        text = said_by(connect("http://behind-a-proxy.example").call, get_job, JOB_ID)
    named = ("GET /jobs/job_1", "http://behind-a-proxy.example", f"through the proxy {away}")
    yield "a proxy that is away", Message(text, named)
    refused = http_answer(407, b"who are you?", "Proxy-Authenticate: Basic")
    with (
        MisbehavingServer(lambda _: [refused, Action.CLOSE]) as proxy,
        environment(HTTPS_PROXY=with_credential(proxy.url)),
    ):
        text = said_by(connect("https://behind-a-proxy.example").call, get_job, JOB_ID)
    named = ("GET /jobs/job_1", "https://behind-a-proxy.example", f"through the proxy {proxy.url}")
    yield "a proxy that refuses", Message(text, named)
