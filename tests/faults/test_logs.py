"""Pages of a log that do not fit together, for each block that reads one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from script_runner import InvalidResponse, RequestRejected, disconnect
from tests.faults.conftest import change
from tests.faults.places import (
    LOGS,
    PLACES,
    Place,
    faulty,
    kind_of,
)
from tests.script_runner.documented import documented
from tests.script_runner.page_server import page_for, wanted_page
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_response

pytestmark = pytest.mark.usefixtures("soon_gone")

READERS = {name: place for name, place in PLACES.items() if place.kind == LOGS}
RAW = b"a line\n" * 40
SIZE = len(RAW)
MAX_REQUESTS = 40
"""How many pages a block may ask for before it gives up a log that makes no sense."""


class BadPage(NamedTuple):
    """A page that cannot be.

    Attributes:
        made: Its offset, next offset, total size and text, given the offset and the limit wanted.
        said: What is said of it, the same given; None where the log seems to have shrunk.
    """

    made: Callable[[int, int], tuple[int, int, int, str]]
    said: Callable[[int, int], str] | None


def odd_ends(made: Callable[[int, int], tuple[int, int, int, str]]) -> BadPage:
    """A page that does not begin or end where it should."""

    def said(offset: int, limit: int) -> str:
        begin, end, size, _ = made(offset, limit)
        return f": asked for {limit} bytes from {offset}, got {begin} to {end} of {size}. "

    return BadPage(made, said)


def odd_text(characters: Callable[[int], int]) -> BadPage:
    """A page with another number of characters than bytes."""
    return BadPage(
        lambda offset, limit: (offset, offset + limit, SIZE, "x" * characters(limit)),
        lambda offset, limit: (
            f": {characters(limit)} characters came for the bytes {offset} to {offset + limit}, "
            "which cannot be their text. "
        ),
    )


BAD_PAGES: dict[str, BadPage] = {
    "do not advance": odd_ends(lambda at, _: (at, at, SIZE, "")),
    "do not advance though they have text": odd_ends(lambda at, _: (at, at, SIZE, "a\n")),
    "advance by too little": odd_ends(lambda at, n: (at, at + n - 4, 10**12, "x" * (n - 4))),
    "jump back": odd_ends(lambda at, _: (at, at - 1, SIZE, "")),
    "begin anew": odd_ends(lambda at, n: (0 if at else -1, n, SIZE, "x" * n)),
    "overlap": odd_ends(lambda at, n: (at - 2, at + n - 2, SIZE, "x" * n)),
    "run ahead": odd_ends(lambda at, n: (at + 2, at + n, SIZE, "x" * (n - 2))),
    "are larger than asked for": odd_ends(lambda at, n: (at, at + n + 1, SIZE, "x" * (n + 1))),
    "end before they begin": odd_ends(lambda at, n: (at, at + n, at, "x" * n)),
    "have less text than bytes": odd_text(lambda _: 1),
    "have more text than bytes": odd_text(lambda limit: limit * 2),
    "shrink": BadPage(lambda at, n: (at, at + n, SIZE - 1 - at, "x" * n), None),
    "have a negative size": BadPage(lambda at, _: (at, at, -5, ""), None),
}


def shrunk(place: Place, name: str, limit: int) -> str:
    """What is said of a log whose pages say that it has become shorter."""
    is_known = bool(place.healthy)
    if name == "have a negative size":
        is_known = is_known or place.block == "run-script-sync"
        return f" has shrunk from {SIZE if is_known else 0} to -5 bytes"
    return f" has shrunk from {SIZE - (not is_known)} to {SIZE - 1 - limit} bytes"


class Log:
    """A server of a job with a log, of which a page cannot be."""

    def __init__(self, place: Place, stream: str, bad: BadPage) -> None:
        """Say what is served."""
        self._place = place
        self._stream = stream
        self._bad = bad
        self._seen = 0

    def respond(self, request: Request) -> Iterator[Step]:
        """Respond as a `MisbehavingServer` does."""
        if kind_of(request) != LOGS:
            yield self._job()
            return
        stream, offset, limit = wanted_page(request)
        page = page_for(request, RAW if stream == self._stream else b"")
        if stream == self._stream:
            self._seen += 1
            if self._seen > self._place.healthy:
                fields = ("offset", "nextOffset", "totalSize", "data")
                page |= zip(fields, self._bad.made(offset, limit), strict=True)
        yield json_response(200, page)

    def _job(self) -> bytes:
        example = "running" if self._place.block == "wait-for-job" else "succeeded"
        sizes = {"stdoutSize": 0, "stderrSize": 0, f"{self._stream}Size": SIZE}
        no_preview = {"stdoutPreview": "", "stderrPreview": ""}
        job = documented("getJob", example) | {"jobId": "job_1"} | sizes | no_preview
        return json_response(200, job)


@pytest.mark.parametrize("place", READERS.values(), ids=READERS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("page_bytes", [4, 16, 64])
def test_pages_that_do_not_fit_together_are_an_invalid_response(
    place: Place, stream: str, page_bytes: int
) -> None:
    if place.block == "get-job-logs":
        place = dataclasses.replace(place, inputs={**place.inputs, "stream": stream})
    change(page_bytes=page_bytes)
    for name, bad in BAD_PAGES.items():
        # Another server may listen at the port of an earlier one.
        disconnect()
        with MisbehavingServer(Log(place, stream, bad).respond) as server:
            tried = place.try_at(server.url)
        at = page_bytes * place.healthy
        said = bad.said(at, page_bytes) if bad.said else shrunk(place, name, page_bytes)
        asked = "Is this a script-runner?"
        hint = asked if bad.said else ". Was the runner's history deleted? Ask again."
        assert type(tried.error) is InvalidResponse, (name, tried)
        assert str(tried.error) == f"the {stream} log of job job_1 at {server.url}{said}{hint}"
        assert len(server.requests) < MAX_REQUESTS


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("place", READERS.values(), ids=READERS)
def test_a_log_that_is_gone_between_two_requests_is_rejected(place: Place) -> None:
    error = {"ok": False, "error": {"code": "JOB_NOT_FOUND", "message": "job not found: job_1"}}
    with faulty(place, lambda *_: [json_response(404, error)]) as server:
        tried = place.try_at(server.url)
    hint = "The runner may have forgotten an old job, or this is another runner's job."
    line = f"{place.line} at {server.url}"
    tried.failed(RequestRejected, line, "404 JOB_NOT_FOUND: job not found: job_1", hint)


def test_a_log_that_is_said_to_be_huge_and_comes_byte_by_byte_is_given_up_at_once() -> None:
    def respond(request: Request) -> Iterator[Step]:
        if kind_of(request) != LOGS:
            job = documented("getJob", "succeeded") | {"jobId": "job_1", "stdoutSize": 10**12}
            yield json_response(200, job)
            return
        _, offset, _ = wanted_page(request)
        ends = {"offset": offset, "nextOffset": offset + 1, "totalSize": 10**12, "data": "a"}
        yield json_response(200, page_for(request, b"") | ends)

    for name in ("run-script-sync, its output", "get-job-logs"):
        with MisbehavingServer(respond) as server:
            tried = PLACES[name].try_at(server.url)
        assert type(tried.error) is InvalidResponse, tried
        assert str(tried.error).endswith(
            f"bytes from 0, got 0 to 1 of {10**12}. Is this a script-runner?"
        )
        assert len(server.requests) <= 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("page_bytes", [64, 1024])
def test_a_log_that_lacks_what_did_not_fit_on_a_disk_is_given_with_the_reason(
    stream: str, page_bytes: int
) -> None:
    """The reference server counts in the size of a job what it could not write."""
    change(page_bytes=page_bytes)
    reason = f"{stream} log write error: ENOSPC: no space left on device, write"

    def respond(request: Request) -> Iterator[Step]:
        if kind_of(request) == LOGS:
            is_short = wanted_page(request)[0] == stream
            yield json_response(200, page_for(request, RAW if is_short else b""))
            return
        previews = {"stdoutPreview": "", "stderrPreview": f"\n{reason}"}
        sizes = {"stdoutSize": 0, "stderrSize": 0, f"{stream}Size": SIZE + 99}
        job = documented("getJob", "succeeded") | {"jobId": "job_1"}
        yield json_response(200, job | previews | sizes)

    place = PLACES["run-script-sync, its output"]
    with MisbehavingServer(respond) as server:
        tried = place.try_at(server.url)

    assert tried.outputs is not None, tried.error
    wanted = {"stdout": "", "stderr": "", stream: RAW.decode()}
    assert tried.outputs["stdout"] == wanted["stdout"]
    assert tried.outputs["stderr"] == f"{wanted['stderr']}{reason}\n"
    assert (tried.outputs["status"], tried.outputs["truncated"]) == ("completed", True)
    (warning,) = tried.context.warnings
    assert warning.startswith(f"The {stream} of job job_1 is cut: ")
