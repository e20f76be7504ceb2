"""Every HTTP status from 100 to 599, and redirects: none is followed, no other server is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from script_runner import InvalidResponse, RequestRejected, RequestTimedOut, RunnerUnreachable
from tests.faults.attempts import (
    IS_IT,
    MAY_RUN,
    OVERLOADED,
    REDIRECT,
    STILL_RUNNING,
    TRY_AGAIN,
    Attempt,
)
from tests.faults.places import (
    FIRST_PLACES,
    FaultyRunner,
    Place,
    answering,
    at_every_block,
    at_every_place,
    faulty,
)
from tests.misbehaving_server import Action, MisbehavingServer, http_answer, json_answer

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone")

NO_STATUS = r"is not as described: \d+ is not a valid HTTPStatus"
ERROR = {"ok": False, "error": {"code": "SOME_CODE", "message": "a sentence, said so"}}
BODYLESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def check_final(place: Place, tried: Attempt, url: str, status: int) -> None:
    """Check the error for a final status whose body is an error of the API."""
    line = f"{place.line} at {url}"
    if status >= 400:
        # To a code of tomorrow of 4xx there is nothing to add: it is the caller's own request.
        hint = "" if status < 500 else " The runner's own log says more."
        assert str(tried.error) == f"{line}: {status} SOME_CODE: a sentence, said so.{hint}"
        assert isinstance(tried.error, RequestRejected)
        error = tried.error
        assert (error.status_code, error.code, error.message) == (
            status, "SOME_CODE", "a sentence, said so",
        )  # fmt: skip
        return
    body = r"\(empty\)" if status in BODYLESS else re.escape('("{"ok": false, ') + r'.*"\)'
    why = rf"(is not an answer of script-runner|{NO_STATUS}|lacks the field \w+)"
    said = rf"answer {status} {why} {body}"
    tried.failed(InvalidResponse, line, said, REDIRECT if status >= 300 else IS_IT)


@at_every_block
@pytest.mark.parametrize("hundred", [200, 300, 400, 500])
def test_a_status_with_an_error_as_its_body_is_an_error(place: Place, hundred: int) -> None:
    statuses = range(hundred, hundred + 100)
    still = iter(statuses)

    def fault(_whole: bytes, _stopped: object) -> Iterator[bytes]:
        status = next(still)
        yield http_answer(status) if status in BODYLESS else json_answer(status, ERROR)

    runner = FaultyRunner(place, fault)
    with MisbehavingServer(lambda request: runner.answer(request, server.stopped)) as server:
        for status in statuses:
            check_final(place, place.try_at(server.url), server.url, status)
    assert runner.runs == (100 if place.is_run else 0)


@at_every_place
@pytest.mark.parametrize("status", [200, 201, 204, 206, 226, 299, 300, 304, 306, 399])
def test_a_status_without_a_body_is_no_answer(place: Place, status: int) -> None:
    with answering(place, http_answer(status)) as server:
        tried = place.try_at(server.url)
    line = f"{place.line} at {server.url}"
    said = rf"answer {status} (is not an answer of script-runner|is not JSON) \(empty\)"
    tried.failed(InvalidResponse, line, said, REDIRECT if status >= 300 else IS_IT)


GOOD_STATUS = {
    name: 202 if place.block == "run-script-async" else 200 for name, place in FIRST_PLACES.items()
}


@at_every_block
@pytest.mark.parametrize("status", [*range(200, 227), 250, 299])
def test_a_good_answer_at_another_status_is_no_answer(place: Place, status: int) -> None:
    def at_status(whole: bytes, _: object) -> Iterator[bytes]:
        yield re.sub(rb" 20\d ", b" %d " % status, whole, count=1)

    if status == GOOD_STATUS[place.block]:
        pytest.skip("this is the status of a good answer")
    if status in BODYLESS:
        pytest.skip("an answer of this status has no body")
    with faulty(place, at_status) as server:
        tried = place.try_at(server.url)
    said = rf"answer {status} (is not an answer of script-runner|lacks|is not as described).+\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


@at_every_block
@pytest.mark.parametrize("status", [100, 103])
def test_an_information_without_an_answer_is_waited_for_up_to_the_limit(
    place: Place, status: int, short_limits: float
) -> None:
    information = f"HTTP/1.1 {status} Said\r\n\r\n".encode()
    with answering(place, information) as server:
        tried = place.try_at(server.url)
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    said = rf"no whole answer within {short_limits:g} s"
    tried.failed(RequestTimedOut, f"{place.line} at {server.url}", said, hint)


@at_every_block
def test_an_information_and_then_the_end_is_an_unreachable_runner(place: Place) -> None:
    hint = MAY_RUN if place.is_run else TRY_AGAIN
    said = r"the connection was lost before an answer came \(.+\)"
    for status in (each for each in range(100, 200) if each != HTTPStatus.SWITCHING_PROTOCOLS):
        information = b"HTTP/1.1 %d Said\r\n\r\n" % status
        with faulty(place, lambda *_, sent=information: [sent, Action.CLOSE]) as server:
            tried = place.try_at(server.url)
        tried.failed(RunnerUnreachable, f"{place.line} at {server.url}", said, hint)


@at_every_place
def test_a_switch_of_protocols_is_no_answer(place: Place) -> None:
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    with answering(place, switch) as server:
        tried = place.try_at(server.url)
    said = r"what came is no HTTP answer \(.+\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


@at_every_block
@pytest.mark.parametrize("status", ["000", "001", "99", "600", "999", "1000", "-200", "2OO", ""])
def test_a_status_that_is_none_is_an_error(place: Place, status: str) -> None:
    answer = f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode()
    with answering(place, answer) as server:
        tried = place.try_at(server.url)
    kind = RequestRejected if status in ("600", "999") else InvalidResponse
    assert type(tried.error) is kind
    assert str(tried.error).startswith(f"{place.line} at {server.url}: ")


LOCATIONS = ("http://{other}/elsewhere", "//{other}/", "http://anyone:else@{other}/", "/other")


@pytest.fixture(scope="module")
def other() -> Iterator[MisbehavingServer]:
    """A server that nothing may be sent to."""
    with MisbehavingServer(lambda _: [json_answer(200, {})]) as server:
        yield server
        assert server.connections == 0


@at_every_place
@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_no_other_server_hears_of_it(
    place: Place, status: int, location: str, other: MisbehavingServer
) -> None:
    to = location.format(other=f"127.0.0.1:{other.port}")
    headers = (f"Location: {to}", f"Refresh: 0; url={to}", "Set-Cookie: a=b")
    with answering(place, http_answer(status, b"moved", *headers)) as server:
        tried = place.try_at(server.url)
    assert other.connections == 0
    line = f"{place.line} at {server.url}"
    said = rf'answer {status} is not an answer of script-runner \("moved"\)'
    tried.failed(InvalidResponse, line, said, REDIRECT)
    asked = [f"{request.method} {request.target}" for request in server.requests]
    assert asked[-1] == place.line
    assert not [target for target in asked if "elsewhere" in target or "other" in target]
    assert not [request for request in server.requests if "cookie" in request.headers]
