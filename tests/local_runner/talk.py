"""How the tests talk to a local runner beside `RunnerProcess`: bytes in, bytes out."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx

from generated_client.models import Error
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until

RESPONSE_SECONDS = 15.0

TAP = '#!/bin/sh\nexec cat "$1"\n'
"""A script that writes to stdout whatever a `Tap` is given, and ends when that is closed."""


class Tap:
    """A named pipe: a job of the script `TAP` writes to its stdout at once what is written here."""

    def __init__(self, folder: Path, name: str = "tap") -> None:
        self.path = str(folder / name)
        os.mkfifo(self.path)
        self._file: int | None = None

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Let the script write; waits until it has been started."""
        if self._file is None:
            self._file = wait_until(self._open)
        os.write(self._file, data)

    def _open(self) -> int | None:
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None
        os.set_blocking(file, True)
        return file

    def close(self) -> None:
        """Let the script end."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def post_run(runner: RunnerProcess, body: object) -> httpx.Response:
    """`POST /run` with a JSON body, also one with a lone surrogate in it."""
    return post_bytes(runner, json.dumps(body).encode())


def post_bytes(runner: RunnerProcess, body: bytes) -> httpx.Response:
    """`POST /run` with bytes that are said to be JSON."""
    return runner.http.post("/run", content=body, headers={"content-type": "application/json"})


def id_of_the_job_after(runner: RunnerProcess, job_id: str) -> str | None:
    """The id of the newest job, which nobody was told yet, once that is not this one any more."""
    page = runner.http.get("/jobs", params={"limit": 1}).raise_for_status().json()
    newest = str(page["jobs"][0]["jobId"])
    return None if newest == job_id else newest


@dataclass(frozen=True)
class RawResponse:
    """The response to `send`."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def refusal(self) -> tuple[int, str]:
        """The status and the code of a refusal, which must be an `Error` of the wire."""
        assert self.headers["content-type"] == "application/json; charset=utf-8", self.body
        error = Error.from_dict(json.loads(self.body))
        assert error.ok is False
        assert error.error.message
        return self.status, error.error.code


def send(
    url: str, request: str, headers: Sequence[str] = ("Host: localhost",), body: bytes = b""
) -> RawResponse:
    """Send a request as it is, on a connection of its own.

    Args:
        url: Where the runner listens.
        request: Method and target, such as `GET /healthz`; the version is added.
        headers: Whole header lines; `Connection: close` is added where none is about that.
        body: What comes after them.
    """
    where = httpx.URL(url)
    close = [] if any(line.startswith("Connection:") for line in headers) else ["Connection: close"]
    head = "\r\n".join([f"{request} HTTP/1.1", *headers, *close, "", ""])
    with socket.create_connection((where.host, where.port or 80), RESPONSE_SECONDS) as connection:
        connection.sendall(head.encode("latin-1") + body)
        response = http.client.HTTPResponse(connection, method=request.partition(" ")[0])
        try:
            response.begin()
            return RawResponse(response.status, response.headers, response.read())
        finally:
            response.close()
