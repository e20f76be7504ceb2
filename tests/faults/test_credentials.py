"""A server that repeats what was sent to it: no message shows the credentials on.

Each form that they can be written in, at each spot of a response that a message shows, for each
kind of request.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from script_runner import (
    InvalidResponse,
    RequestRejected,
    ScriptRunnerError,
    WaitTimedOut,
)
from tests.faults.attempts import HEADER, IS_IT, MAY_RUN, TRY_AGAIN, Attempt, attempt
from tests.faults.places import (
    PAGE_BYTES,
    PLACES,
    Fault,
    Place,
    at_places,
    schema_of,
    tried_with_each,
)
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Step,
    http_response,
    json_response,
)

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone", "quick_looks", "quiet_http")

FORMS: dict[str, tuple[str, str | None]] = {
    "the password": ("s3cret/pass", "…"),
    "percent-encoded": ("s3cret%2Fpass", "…"),
    "percent-encoded in lower case": ("s3cret%2fpass", None),
    "escaped as in JSON": (r"s3cret\/pass", None),
    "escaped as in JSON, by number": (r"s3cret\u002Fpass", None),
    "escaped as by repr": (r"s3cret\x2fpass", None),
    "escaped as in HTML": ("s3cret&#x2F;pass", None),
    "the credentials": ("anyone-at-all:s3cret/pass", "anyone-at-all:…"),
    "the header": (f"Authorization: Basic {HEADER}", "Authorization: Basic …"),
    "the value of the header": (f"Basic {HEADER}", "Basic …"),
    "the header without its end": (HEADER.rstrip("="), "…"),
    "the header percent-encoded": (HEADER.replace("=", "%3D"), "…%3D%3D"),
}
"""What a server writes, and what is shown of it; None if all around it is hidden, too."""


@pytest.fixture
def quiet_http() -> Iterator[None]:
    """The log of httpcore itself, at its level DEBUG, shows the head of every response."""
    logger = logging.getLogger("httpcore")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)


class Spot(NamedTuple):
    """A part of a response that a message shows.

    Attributes:
        response: What is sent, given what is written there.
        said: What the message says came, and what to do, given what is shown.
        error: The class of the error.
    """

    response: Callable[[str], list[Step]]
    said: Callable[[str], str]
    error: type[ScriptRunnerError] = InvalidResponse


def rejection(code: str, message: str) -> bytes:
    return json_response(500, {"ok": False, "error": {"code": code, "message": message}})


LOST = "(what to do when a connection was lost)"
OWN_LOG = " The runner's own log says more."
OTHER = " This came from something other than script-runner: check the URL."
SPOTS: dict[str, Spot] = {
    "the status line": Spot(
        lambda text: [f"HTTP/1.1 200 {text}\0\r\n\r\n".encode()],
        lambda shown: (
            "what came is not an HTTP response (RemoteProtocolError: illegal status line: "
            rf"bytearray(b'HTTP/1.1 200 {shown}\x00')). {IS_IT}"
        ),
    ),
    "a line of the head": Spot(
        lambda text: [f"HTTP/1.1 200 OK\r\n\0{text}\r\n\r\n".encode()],
        lambda shown: (
            "what came is not an HTTP response (RemoteProtocolError: illegal header line: "
            rf"bytearray(b'\x00{shown}')). {IS_IT}"
        ),
    ),
    "the packing": Spot(
        lambda text: [http_response(200, b"{}", f"Content-Encoding: gzip, {text}")],
        lambda shown: f"response 200 is not the gzip, {shown} it says it is. {IS_IT}",
    ),
    "the size of a chunk": Spot(
        lambda text: [
            f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{text}\r\n".encode(),
            Action.CLOSE,
        ],
        lambda shown: (
            "response 200 was cut off (RemoteProtocolError: illegal chunk header: "
            f"bytearray(b'{shown}"
            rf"\r\n')). {LOST}"
        ),
    ),
    "the code of an error": Spot(
        lambda text: [rejection(f"NO_{text}", "no")],
        lambda shown: f"500 NO_{shown}: no.{OWN_LOG}",
        RequestRejected,
    ),
    "the message of an error": Spot(
        lambda text: [rejection("NO", f"you sent {text}.")],
        lambda shown: f"500 NO: you sent {shown}.{OWN_LOG}",
        RequestRejected,
    ),
    "a long message of an error": Spot(
        lambda text: [rejection("NO", "x" * 190 + text * 999)],
        lambda shown: f"500 NO: {('x' * 190 + shown * 99)[:200]}….{OWN_LOG}",
        RequestRejected,
    ),
    "a page": Spot(
        lambda text: [http_response(200, f"<p>you sent {text}".encode())],
        lambda shown: f'response 200 is not JSON ("<p>you sent {shown}"). {IS_IT}',
    ),
    "a page that is an error": Spot(
        lambda text: [http_response(418, f"<p>you sent {text}".encode())],
        lambda shown: f'418 no error of script-runner ("<p>you sent {shown}").{OTHER}',
        RequestRejected,
    ),
    "a page that is cut by what is shown": Spot(
        lambda text: [http_response(200, f"{' ' * 1585}{text}{' ' * 9999}".encode())],
        lambda shown: f'response 200 is not JSON ("{shown[:15].strip()}"). {IS_IT}',
    ),
    "another page that is cut": Spot(
        lambda text: [http_response(200, ("x" * 190 + text * 999).encode())],
        lambda shown: f'response 200 is not JSON ("{("x" * 190 + shown * 99)[:200]}…"). {IS_IT}',
    ),
}


@at_places("spot", SPOTS, "a line of the head", "the message of an error", "a page")
def test_what_repeats_the_credentials_is_shown_without_them(place: Place, spot: Spot) -> None:
    responses = [spot.response(written) for written, _ in FORMS.values()]
    for shown, url, tried in shown_in_each(place, responses):
        assert type(tried.error) is spot.error, tried
        if shown is None:
            assert str(tried.error).startswith(f"{place.line} at {url}: ")
            assert "…" in str(tried.error)
            continue
        said = spot.said(shown).replace(LOST, MAY_RUN if place.is_run else TRY_AGAIN)
        assert str(tried.error) == f"{place.line} at {url}: {said}"


def shown_in_each(
    place: Place, responses: Sequence[list[Step]]
) -> Iterator[tuple[str | None, str, Attempt]]:
    """What is shown of each form, the URL of the server that wrote it, and what came of it."""
    faults: list[Fault] = [lambda *_, steps=steps: steps for steps in responses]
    each = zip(FORMS.values(), tried_with_each(place, faults), strict=True)
    return ((shown, url, tried) for (_, shown), (url, tried) in each)


DATED = {name: place for name, place in PLACES.items() if schema_of(place) == "Job"}


@pytest.mark.parametrize("place", DATED.values(), ids=DATED)
def test_a_date_that_repeats_the_credentials_is_shown_without_them(place: Place) -> None:
    job = documented("getJob", "succeeded")
    del job["createdAt"]
    responses: list[list[Step]] = [
        [json_response(200, {"createdAt": written} | job)] for written, _ in FORMS.values()
    ]
    for shown, url, tried in shown_in_each(place, responses):
        if shown is None:
            continue
        body = json.dumps({"createdAt": shown} | job, ensure_ascii=False)[:200]
        assert type(tried.error) is InvalidResponse
        assert str(tried.error) == (
            f"{place.line} at {url}: response 200 is not as described: Invalid isoformat "
            f"string: '{shown}' (\"{body}…\"). {IS_IT}"
        )


def test_a_job_id_that_repeats_the_credentials_is_asked_for_and_shown_without_them() -> None:
    job = documented("getJob", "succeeded") | {"jobId": "s3cret/pass", "stdoutSize": 99_999}
    gone = json_response(404, documented("getJobLogs", "job-not-found"))
    with MisbehavingServer(
        lambda request: [json_response(200, job) if request.method == "POST" else gone]
    ) as server:
        tried = attempt("run-script-sync", server.url, script_id="quick-echo")
        assert server.requests[-1].target.startswith("/jobs/s3cret%2Fpass/logs?")
    assert type(tried.error) is RequestRejected
    line = f"GET /jobs/…/logs?stream=stdout&offset=0&limit={PAGE_BYTES} at {server.url}"
    assert str(tried.error).startswith(f"{line}: 404 JOB_NOT_FOUND: ")


SIZES = {"a log that shrinks": 5, "a page that does not advance": 99_999}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_log_of_a_job_whose_id_repeats_the_credentials_is_named_without_them(size: int) -> None:
    job = documented("getJob", "succeeded") | {"jobId": "s3cret/pass", "stdoutSize": 99_999}
    page = documented("getJobLogs", "whole") | {"nextOffset": 0, "totalSize": size, "data": ""}
    page |= {"jobId": "s3cret/pass"}
    with MisbehavingServer(
        lambda request: [json_response(200, job if request.method == "POST" else page)]
    ) as server:
        tried = attempt("run-script-sync", server.url, script_id="quick-echo")
    assert type(tried.error) is InvalidResponse
    assert str(tried.error).startswith(f"the stdout log of job … at {server.url}")


def test_a_wait_that_is_over_shows_no_credentials_that_the_job_repeats() -> None:
    job = documented("getJob", "running") | {
        "jobId": "job_1", "status": "s3cret/pass?", "stdoutSize": 0,
    }  # fmt: skip
    with MisbehavingServer(lambda _: [json_response(200, job)]) as server:
        tried = attempt("wait-for-job", server.url, job_id="job_1", timeout_seconds=0)
    assert type(tried.error) is WaitTimedOut
    assert str(tried.error).startswith(f"job job_1 at {server.url} is still …? after 0 s. ")
