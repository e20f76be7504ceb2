"""Answers whose body is not that of an operation: other types, missing fields, too large."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from script_runner import InvalidResponse, RequestRejected
from tests.description import load
from tests.faults.attempts import IS_IT
from tests.faults.places import (
    FIRST_PLACES,
    Place,
    answering,
    at_every_place,
    faulty,
    healthy_answer,
    schema_of,
)
from tests.misbehaving_server import MisbehavingServer, Request, Step, http_answer, json_answer

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone")

HTML = b"<!DOCTYPE html>\n<html><body>Welcome to nginx!</body></html>\n"
JSON_TYPES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "integer": 5,
    "number": 1.5,
    "string": "text",
    "array": [],
    "object": {},
}
SCHEMAS = load()["components"]["schemas"]


def allowed_types(field: dict[str, Any]) -> set[str]:
    """The JSON types that the description allows for a field; a time is no text of any kind."""
    while "$ref" in field:
        field = SCHEMAS[field["$ref"].rpartition("/")[2]]
    types = {field["type"]} if isinstance(field["type"], str) else set(field["type"])
    return types - {"string"} if field.get("format") == "date-time" else types


FIELDS = [
    pytest.param(place, field, id=f"{name}-{field}")
    for name, place in FIRST_PLACES.items()
    for field in SCHEMAS[schema_of(place)]["properties"]
]


@at_every_place
@pytest.mark.parametrize("status", [200, 202, 404, 500, 502])
def test_html_is_an_error_that_shows_how_it_begins(place: Place, status: int) -> None:
    with answering(place, http_answer(status, HTML, "Content-Type: text/html")) as server:
        tried = place.try_at(server.url)
    kind = RequestRejected if status >= 400 else InvalidResponse
    assert type(tried.error) is kind
    line = re.escape(f"{place.line} at {server.url}: ")
    shown = re.escape('("<!DOCTYPE html> <html><body>Welcome to nginx!</body></html>")')
    assert re.fullmatch(rf"{line}.*{status} .*{shown}\. \w.*[.?]", str(tried.error))


@at_every_place
@pytest.mark.parametrize("json_type", [name for name in JSON_TYPES if name != "object"])
def test_another_json_type_than_an_object_is_an_invalid_response(
    place: Place, json_type: str
) -> None:
    status = 202 if place.block == "run-script-async" else 200
    with answering(place, json_answer(status, JSON_TYPES[json_type])) as server:
        tried = place.try_at(server.url)
    said = rf"answer {status} is not a JSON object \(\".*\"\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


def changed(whole: bytes, **fields: object) -> bytes:
    """A good answer with some fields changed; `...` in place of a value drops the field."""
    head, _, body = whole.partition(b"\r\n\r\n")
    value = json.loads(body) | fields
    kept = {name: each for name, each in value.items() if each is not ...}
    return json_answer(int(head.split()[1]), kept)


@pytest.mark.parametrize(("place", "field"), FIELDS)
def test_a_missing_field_is_an_invalid_response(place: Place, field: str) -> None:
    with faulty(place, lambda whole, _: [changed(whole, **{field: ...})]) as server:
        tried = place.try_at(server.url)
    said = rf"answer 20\d lacks the field {field} \(\".*\"\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


@pytest.mark.parametrize(("place", "field"), FIELDS)
def test_a_field_of_a_wrong_type_is_an_invalid_response(place: Place, field: str) -> None:
    described = SCHEMAS[schema_of(place)]["properties"][field]
    wrong = [JSON_TYPES[name] for name in JSON_TYPES if name not in allowed_types(described)]
    for value in wrong:
        fault = functools.partial(_with_field, field, value)
        with faulty(place, fault) as server:
            tried = place.try_at(server.url)
        said = r"answer 20\d is not as described: .+ \(\".*\"\)"
        tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)
    assert wrong


def _with_field(field: str, value: object, whole: bytes, _stopped: object) -> list[Step]:
    return [changed(whole, **{field: value})]


@at_every_place
def test_an_answer_that_shows_the_credentials_that_were_sent_does_not_show_them_on(
    place: Place,
) -> None:
    """As a page for developers does, which lists the headers of the request."""
    for status in (200, 500):
        for code in (False, True):
            tried_with_echo(place, status, code=code)


def tried_with_echo(place: Place, status: int, *, code: bool) -> None:
    """Let the server say the request's own Authorization header in its answer."""

    def answer(request: Request) -> list[Step]:
        if place.kind in request.target or (place.kind == "job" and "logs" not in request.target):
            sent = request.headers["authorization"]
            error = {"ok": False, "error": {"code": "ECHO", "message": f"you sent {sent}"}}
            return [json_answer(status, error if code else {"headers": sent})]
        return [healthy_answer(place.block, request)]

    with MisbehavingServer(answer) as server:
        tried = place.try_at(server.url)
    assert type(tried.error) is (RequestRejected if status >= 400 else InvalidResponse)


MANY_BYTES = 50_000_000
MEMORY_MIB = 160
"""What reading an answer of that size may take beside what was taken before; its limit is 32 MiB,
of which there are, for a moment, the parts and the whole."""

READ = """
import resource, sys
from tests.faults.attempts import attempt
inputs = {"script_id": "a"} if sys.argv[1].startswith("run") else {"job_id": "job_1"}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tried = attempt(sys.argv[1], sys.argv[2], **inputs)
print(type(tried.error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
print(tried.error)
"""


@pytest.mark.parametrize("place", FIRST_PLACES.values(), ids=FIRST_PLACES)
def test_an_answer_of_50_mb_is_refused_and_takes_bounded_memory(place: Place) -> None:
    def answer(_: Request) -> Iterator[Step]:
        yield f"HTTP/1.1 200 OK\r\nContent-Length: {MANY_BYTES}\r\n\r\n".encode()
        for _sent in range(0, MANY_BYTES, 100_000):
            yield b'"' * 100_000

    with MisbehavingServer(answer) as server:
        done = subprocess.run(
            [sys.executable, "-c", READ, place.block, server.url],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    assert len(server.requests) == 1
    summary, message = done.stdout.splitlines()
    kind, kibibytes = summary.split()
    assert kind == "InvalidResponse"
    assert f"at {server.url}: answer 200 is larger than 32 MiB. {IS_IT}" in message
    assert int(kibibytes) < MEMORY_MIB * 1024
