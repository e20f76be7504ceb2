"""Every HTTP status from 100 to 599, and redirects: none is followed, no other server is asked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus

import pytest

from script_runner import (
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
)
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
    PLACES,
    Fault,
    Place,
    at_every_block,
    at_every_operation,
    at_every_place,
    at_places,
    faulty,
    responding,
    tried_with_each,
)
from tests.support.misbehaving_server import Action, MisbehavingServer, http_response, json_response

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone", "quick_looks")

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
    why = rf"(is not a response of script-runner|{NO_STATUS}|lacks the field \w+)"
    said = rf"response {status} {why} {body}"
    tried.failed(InvalidResponse, line, said, REDIRECT if status >= 300 else IS_IT)


def tried_at_each(
    place: Place, statuses: Iterable[int], response: Callable[[int, bytes], bytes]
) -> Iterator[tuple[int, str, Attempt]]:
    """Each status with the URL of the server that sent it, and what came of it."""
    listed = list(statuses)
    faults: list[Fault] = [
        lambda whole, _, status=status: [response(status, whole)]  # type: ignore[misc]
        for status in listed
    ]
    for status, (url, tried) in zip(listed, tried_with_each(place, faults), strict=True):
        yield status, url, tried


@at_every_place
@pytest.mark.parametrize("hundred", [200, 300, 400, 500])
def test_a_status_with_an_error_as_its_body_is_an_error(place: Place, hundred: int) -> None:
    def error(status: int, _: bytes) -> bytes:
        return http_response(status) if status in BODYLESS else json_response(status, ERROR)

    statuses = tried_statuses(place, hundred, hundred + 100)
    for status, url, tried in tried_at_each(place, statuses, error):
        check_final(place, tried, url, status)


def tried_statuses(place: Place, begin: int, end: int) -> list[int]:
    """Every status at one place; elsewhere those with a name, and the first and the last."""
    every = range(begin, end)
    named = {*HTTPStatus, begin, end - 1}.intersection(every)
    return list(every) if place is PLACES["get-job-status"] else sorted(named)


BARE = {str(code): code for code in (200, 201, 204, 206, 226, 299, 300, 304, 306, 399)}


@at_places("status", BARE, "204", "304")
def test_a_status_without_a_body_is_an_invalid_response(place: Place, status: int) -> None:
    with responding(place, http_response(status)) as server:
        tried = place.try_at(server.url)
    line = f"{place.line} at {server.url}"
    said = rf"response {status} (is not a response of script-runner|is not JSON) \(empty\)"
    tried.failed(InvalidResponse, line, said, REDIRECT if status >= 300 else IS_IT)


def at_status(status: int, whole: bytes) -> bytes:
    """A good response at another status."""
    return re.sub(rb" 20\d ", b" %d " % status, whole, count=1)


@at_every_block
def test_a_good_response_at_another_status_is_invalid(place: Place) -> None:
    statuses = [
        status
        for status in tried_statuses(place, 200, 400)
        if status not in (place.good_status, *BODYLESS)
    ]
    for status, url, tried in tried_at_each(place, statuses, at_status):
        why = r"is not a response of script-runner|lacks|is not as described"
        hint = REDIRECT if status >= 300 else IS_IT
        said = rf"response {status} ({why}).+\)"
        tried.failed(InvalidResponse, f"{place.line} at {url}", said, hint)


HINTS = {
    401: "Keep http://any:TOKEN@HOST:PORT, with the runner's token, as a secret of OOMOL.",
    404: "Is this the URL of a script-runner, with nothing missing or added?",
    407: "The proxy of the environment (HTTP_PROXY) wants credentials.",
}
PROXY = "A proxy lost the runner behind it: is it running? Try again."
OTHER = "This came from something other than script-runner: check the URL."


@at_every_block
def test_a_good_response_at_the_status_of_an_error_is_an_error(place: Place) -> None:
    for status, url, tried in tried_at_each(place, tried_statuses(place, 400, 600), at_status):
        said = rf"{status} no error of script-runner \(\"\{{.+\"\)"
        hint = HINTS.get(status, OTHER)
        if status in (502, 503, 504, *range(520, 531)):
            hint = MAY_RUN if place.is_run else PROXY
        tried.failed(RequestRejected, f"{place.line} at {url}", said, hint)


@at_every_block
@pytest.mark.parametrize("status", [100, 103])
def test_an_information_without_a_reply_is_waited_for_up_to_the_limit(
    place: Place, status: int, short_limits: float
) -> None:
    information = f"HTTP/1.1 {status} Said\r\n\r\n".encode()
    with responding(place, information) as server:
        tried = place.try_at(server.url)
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    said = rf"no whole response within {short_limits:g} s"
    tried.failed(RequestTimedOut, f"{place.line} at {server.url}", said, hint)


INFORMATIONS = [b"HTTP/1.1 %d Said\r\nA: b\r\n\r\n" % status for status in range(100, 200)]
del INFORMATIONS[1]  # A switch of protocols is none.


@pytest.mark.parametrize("name", ["run-script-async", "get-job-status"])
def test_a_response_after_an_information_is_read(name: str) -> None:
    left = iter(INFORMATIONS)
    statuses = range(len(INFORMATIONS))
    for _, _, tried in tried_at_each(PLACES[name], statuses, lambda _, whole: next(left) + whole):
        assert tried.outputs is not None, tried.error


@at_every_place
def test_a_response_after_every_information_is_read(place: Place) -> None:
    is_wait = place.block == "wait-for-job"
    if is_wait:
        place = dataclasses.replace(place, inputs={**place.inputs, "timeout_seconds": 0.1})
    with faulty(place, lambda whole, _: [*INFORMATIONS, whole]) as server:
        tried = place.try_at(server.url)
    if is_wait:
        assert isinstance(tried.error, RequestTimedOut)
        assert " is still running after 0.1 s. It goes on: " in str(tried.error)
    else:
        assert tried.outputs is not None, tried.error


@at_every_operation
def test_an_information_and_then_the_end_is_an_unreachable_runner(place: Place) -> None:
    hint = MAY_RUN if place.is_run else TRY_AGAIN
    said = r"the connection was lost before a response came \(.+\)"
    for status in (100, 102, 199):
        information = b"HTTP/1.1 %d Said\r\n\r\n" % status
        with faulty(place, lambda *_, sent=information: [sent, Action.CLOSE]) as server:
            tried = place.try_at(server.url)
        tried.failed(RunnerUnreachable, f"{place.line} at {server.url}", said, hint)


@at_every_place
def test_a_switch_of_protocols_is_an_invalid_response(place: Place) -> None:
    switch = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    with responding(place, switch) as server:
        tried = place.try_at(server.url)
    said = r"what came is not an HTTP response \(.+\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


NONE = {code: code for code in ("000", "001", "99", "600", "999", "1000", "-200", "2OO", "")}


@at_places("status", NONE, "000", "600")
def test_a_status_that_is_none_is_an_error(place: Place, status: str) -> None:
    response = f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n".encode()
    with responding(place, response) as server:
        tried = place.try_at(server.url)
    kind = RequestRejected if status in ("600", "999") else InvalidResponse
    assert type(tried.error) is kind
    assert str(tried.error).startswith(f"{place.line} at {server.url}: ")


LOCATIONS = ("http://{other}/elsewhere", "//{other}/", "http://anyone:else@{other}/", "/other")
REDIRECTS = {
    f"{code} to {to}": (code, to) for code in (301, 302, 303, 307, 308) for to in LOCATIONS
}


@pytest.fixture(scope="module")
def other() -> Iterator[MisbehavingServer]:
    """A server that nothing may be sent to."""
    with MisbehavingServer(lambda _: [json_response(200, {})]) as server:
        yield server
        assert server.connections == 0


@at_places("redirect", REDIRECTS, f"302 to {LOCATIONS[0]}", f"307 to {LOCATIONS[0]}")
def test_a_redirect_is_not_followed_and_no_other_server_hears_of_it(
    place: Place, redirect: tuple[int, str], other: MisbehavingServer
) -> None:
    status, location = redirect
    to = location.format(other=f"127.0.0.1:{other.port}")
    headers = (f"Location: {to}", f"Refresh: 0; url={to}", "Set-Cookie: a=b")
    with responding(place, http_response(status, b"moved", *headers)) as server:
        tried = place.try_at(server.url)
    assert other.connections == 0
    line = f"{place.line} at {server.url}"
    said = rf'response {status} is not a response of script-runner \("moved"\)'
    tried.failed(InvalidResponse, line, said, REDIRECT)
    asked = [f"{request.method} {request.target}" for request in server.requests]
    # The next page of a log may be asked for meanwhile.
    assert place.line in asked[-2:]
    assert not [target for target in asked if "elsewhere" in target or "other" in target]
    assert not [request for request in server.requests if "cookie" in request.headers]
