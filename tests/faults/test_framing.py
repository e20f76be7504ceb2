"""Responses whose length, chunks or packing are not what they say."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Callable
from typing import NamedTuple

import pytest

from script_runner import InvalidResponse, RequestTimedOut, ScriptRunnerError
from tests.faults.attempts import (
    IS_IT,
    MAY_RUN,
    OVERLOADED,
    STILL_RUNNING,
    TRY_AGAIN,
    attempt,
)
from tests.faults.places import JOB_ID, Place, at_every_place, at_places, faulty
from tests.faults.test_connections import SLACK_SECONDS
from tests.script_runner.documented import documented
from tests.support.misbehaving_server import (
    Action,
    MisbehavingServer,
    Request,
    Step,
    http_response,
    json_response,
)

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone")

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
NO_HTTP = r"what came is not an HTTP response \((Remote|Local)ProtocolError: .+\)"
CUT = r"response 20\d was cut off \(RemoteProtocolError: .+\)"
NOT_JSON = r'response 20\d is not JSON (\(".*"\)|\(empty\))'


class Framed(NamedTuple):
    """A response that is framed badly, and the error that it is."""

    change: Callable[[bytes], bytes]
    said: str
    error: type[ScriptRunnerError] = InvalidResponse


def with_lengths(*lengths: Callable[[int], object]) -> Callable[[bytes], bytes]:
    """The response with other headers of its length."""

    def change(whole: bytes) -> bytes:
        head, _, body = whole.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        lines += [f"Content-Length: {length(len(body))}".encode() for length in lengths]
        return b"\r\n".join([*lines, b"", body])

    return change


def body_as(body: Callable[[bytes], bytes], *headers: bytes) -> Callable[[bytes], bytes]:
    """The response with its body made into something else, of the right length."""

    def change(whole: bytes) -> bytes:
        head, _, original = whole.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
        made = body(original)
        length = [] if CHUNKED in headers else [b"Content-Length: %d" % len(made)]
        return b"\r\n".join([*lines, *headers, *length, b"", made])

    return change


def chunked_as(made: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return body_as(made, CHUNKED)


def packed_as(name: bytes, made: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return body_as(made, b"Content-Encoding: " + name)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


FRAMED = {
    "a length that is too long": Framed(with_lengths(lambda size: size + 9), CUT),
    "a length that is too short": Framed(with_lengths(lambda size: size - 9), NOT_JSON),
    "a length of nothing": Framed(with_lengths(lambda _: 0), NOT_JSON),
    "a length of more digits than any": Framed(with_lengths(lambda _: "9" * 30), NO_HTTP),
    "a negative length": Framed(with_lengths(lambda size: -size), NO_HTTP),
    "a length that is no number": Framed(with_lengths(lambda _: "many"), NO_HTTP),
    "two different lengths": Framed(with_lengths(lambda n: n, lambda n: n + 1), NO_HTTP),
    "two different lengths in one": Framed(with_lengths(lambda n: f"{n}, {n + 1}"), NO_HTTP),
    "a chunk whose size is no number": Framed(chunked_as(lambda body: b"zz\r\n" + body), CUT),
    "a chunk of a negative size": Framed(chunked_as(lambda body: b"-5\r\n" + body), CUT),
    "a chunk of more than comes": Framed(chunked_as(lambda body: b"fff\r\n" + body), CUT),
    "a chunk without its end": Framed(
        chunked_as(lambda body: chunk(body)[:-2] + b"XX0\r\n\r\n"), CUT
    ),
    "chunks without an end": Framed(chunked_as(chunk), CUT),
    "no chunks": Framed(chunked_as(lambda body: body), CUT),
    "chunks that end early": Framed(
        chunked_as(lambda body: chunk(body[:9]) + b"0\r\n\r\n"), NOT_JSON
    ),
    "a chunk size without an end": Framed(chunked_as(lambda _: b"0" * 200_000), CUT),
    "an unknown transfer encoding": Framed(
        body_as(lambda body: body, b"Transfer-Encoding: gzip"), NO_HTTP
    ),
    "text that is called gzip": Framed(
        packed_as(b"gzip", lambda body: body), r"response 20\d is not the gzip it says it is.*"
    ),
    "gzip that is cut": Framed(
        packed_as(b"gzip", lambda body: gzip.compress(body)[:-30]), NOT_JSON
    ),
    "gzip with a wrong sum": Framed(
        packed_as(b"gzip", lambda body: gzip.compress(body)[:-8] + b"\0" * 8),
        r"response 20\d is not the gzip it says it is.*",
    ),
    "gzip that is called deflate": Framed(
        packed_as(b"deflate", gzip.compress), r"response 20\d is not the deflate it says it is.*"
    ),
    "gzip that nobody names": Framed(body_as(gzip.compress), NOT_JSON),
    "a head without an end": Framed(lambda _: OK + b"A: b\r\n" * 20_000, NO_HTTP),
    "a header without an end": Framed(lambda _: OK + b"A: " + b"b" * 120_000, NO_HTTP),
    "HTTP/2": Framed(lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_HTTP),
    "TLS": Framed(lambda _: b"\x15\x03\x01\x00\x02\x02\x46", r"(what came|the connection).*"),
}  # fmt: skip


@at_places("framed", FRAMED, "a length that is too long", "a length that is too short", "HTTP/2")
def test_a_response_that_is_framed_badly_is_an_error(place: Place, framed: Framed) -> None:
    with faulty(place, lambda whole, _: [framed.change(whole), Action.CLOSE]) as server:
        tried = place.try_at(server.url)
    is_cut = framed.said == CUT
    hint = (MAY_RUN if place.is_run else TRY_AGAIN) if is_cut else IS_IT
    tried.failed(framed.error, f"{place.line} at {server.url}", framed.said, hint)
    assert tried.seconds < SLACK_SECONDS


@at_every_place
def test_a_response_that_is_longer_than_what_comes_is_waited_for_up_to_the_limit(
    place: Place, short_limits: float
) -> None:
    longer = with_lengths(lambda size: size + 9)
    with faulty(place, lambda whole, _: [longer(whole)]) as server:
        tried = place.try_at(server.url)
    hint = STILL_RUNNING if place.is_run else OVERLOADED
    said = rf"no whole response within {short_limits:g} s"
    tried.failed(RequestTimedOut, f"{place.line} at {server.url}", said, hint)


UNTIL_THE_END = with_lengths()
GOOD: dict[str, Callable[[bytes], bytes]] = {
    "chunks": chunked_as(lambda body: chunk(body[:9]) + chunk(body[9:]) + b"0\r\n\r\n"),
    "chunks of one byte": chunked_as(
        lambda body: b"".join(chunk(bytes([byte])) for byte in body) + b"0\r\n\r\n"
    ),
    "chunks with extensions and trailers": chunked_as(
        lambda body: b"%x;a=b\r\n%b\r\n0\r\nA: b\r\n\r\n" % (len(body), body)
    ),
    "the same length twice": with_lengths(lambda size: size, lambda size: size),
    "gzip that nobody asked for": packed_as(b"gzip", gzip.compress),
    "deflate that nobody asked for": packed_as(b"deflate", zlib.compress),
    "a body up to the end of the connection": UNTIL_THE_END,
    "an information before it": lambda whole: b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole,
}


@at_places("change", GOOD, "chunks", "gzip that nobody asked for")
def test_a_response_in_an_unusual_but_right_frame_is_read(
    place: Place, change: Callable[[bytes], bytes]
) -> None:
    is_wait = place.block == "wait-for-job"
    if is_wait:
        place = dataclasses.replace(place, inputs={**place.inputs, "timeout_seconds": 0.1})
    # Only where its end is the end of the connection: else the next request may cross the close.
    end = [Action.CLOSE] if change is UNTIL_THE_END else []
    with faulty(place, lambda whole, _: [change(whole), *end]) as server:
        tried = place.try_at(server.url)
    if not is_wait:
        assert tried.outputs is not None, tried.error
        return
    line, said = f"job {JOB_ID} at {server.url} is still running after 0.1 s", "It goes on"
    assert isinstance(tried.error, RequestTimedOut)
    assert str(tried.error).startswith(f"{line}. {said}")


@pytest.mark.parametrize(
    "extra", ["a byte", "a response", "the rest of a length that is too short"]
)
def test_what_follows_a_response_is_never_taken_for_the_next_response(extra: str) -> None:
    def respond(request: Request) -> list[Step]:
        job_id = request.target.removeprefix("/jobs/")
        job = json_response(
            200, documented("getJob", "succeeded") | {"jobId": job_id, "stdoutPreview": job_id}
        )
        other = json_response(
            200, documented("getJob", "succeeded") | {"stdoutPreview": "not asked"}
        )
        if extra == "the rest of a length that is too short":
            body = job.partition(b"\r\n\r\n")[2]
            return [http_response(200, body + b"  " + other, length=len(body))]
        return [job + (b" " if extra == "a byte" else other)]

    with MisbehavingServer(respond) as server:
        seen = [attempt("get-job-status", server.url, job_id=name) for name in ("one", "two")]
    assert [each.outputs and each.outputs["stdout_preview"] for each in seen] == ["one", "two"]
