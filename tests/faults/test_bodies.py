"""Responses whose body is not that of an operation: other types, missing fields, too large."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from script_runner import InvalidResponse, RequestRejected
from tests.faults.attempts import IS_IT, Attempt
from tests.faults.places import (
    PLACES,
    Place,
    at_every_operation,
    at_places,
    faulty,
    responding,
    schema_of,
    tried_with_each,
)
from tests.support.misbehaving_server import Step, http_response, json_response
from tests.support.spec import load

pytestmark = pytest.mark.usefixtures("small_pages", "soon_gone", "quick_looks")

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
    """The JSON types that the spec allows for a field; a time is no text of any kind."""
    while "$ref" in field:
        field = SCHEMAS[field["$ref"].rpartition("/")[2]]
    types = {field["type"]} if isinstance(field["type"], str) else set(field["type"])
    return types - {"string"} if field.get("format") == "date-time" else types


@at_places("status", {str(code): code for code in (200, 202, 404, 500, 502)}, "200", "502")
def test_html_is_an_error_that_shows_how_it_begins(place: Place, status: int) -> None:
    with responding(place, http_response(status, HTML, "Content-Type: text/html")) as server:
        tried = place.try_at(server.url)
    kind = RequestRejected if status >= 400 else InvalidResponse
    assert type(tried.error) is kind
    line = re.escape(f"{place.line} at {server.url}: ")
    shown = re.escape('("<!DOCTYPE html> <html><body>Welcome to nginx!</body></html>")')
    assert re.fullmatch(rf"{line}.*{status} .*{shown}\. \w.*[.?]", str(tried.error))


@at_places("value", {name: JSON_TYPES[name] for name in JSON_TYPES if name != "object"}, "array")
def test_another_json_type_than_an_object_is_an_invalid_response(
    place: Place, value: object
) -> None:
    status = place.good_status
    with responding(place, json_response(status, value)) as server:
        tried = place.try_at(server.url)
    said = rf"response {status} is not a JSON object \(\".*\"\)"
    tried.failed(InvalidResponse, f"{place.line} at {server.url}", said, IS_IT)


def changed(whole: bytes, **fields: object) -> bytes:
    """A good response with some fields changed; `...` in place of a value drops the field."""
    head, _, body = whole.partition(b"\r\n\r\n")
    value = json.loads(body) | fields
    kept = {name: each for name, each in value.items() if each is not ...}
    return json_response(int(head.split()[1]), kept)


def with_each(
    place: Place, changes: Iterable[tuple[str, object]]
) -> Iterator[tuple[str, str, Attempt]]:
    """Each field that is changed with the line of the request, and what came of it."""
    listed = list(changes)
    faults = [functools.partial(_with_field, field, value) for field, value in listed]
    for (field, _), (url, tried) in zip(listed, tried_with_each(place, faults), strict=True):
        yield field, f"{place.line} at {url}", tried


def _with_field(field: str, value: object, whole: bytes, _stopped: object) -> list[Step]:
    return [changed(whole, **{field: value})]


@at_every_operation
def test_a_missing_field_is_an_invalid_response(place: Place) -> None:
    fields = SCHEMAS[schema_of(place)]["properties"]
    for field, line, tried in with_each(place, [(field, ...) for field in fields]):
        said = rf"response {place.good_status} lacks the field {field} \(\".*\"\)"
        tried.failed(InvalidResponse, line, said, IS_IT)


@at_every_operation
def test_a_field_of_a_wrong_type_is_an_invalid_response(place: Place) -> None:
    fields = SCHEMAS[schema_of(place)]["properties"]
    wrong = [
        (field, value)
        for field, described in fields.items()
        for name, value in JSON_TYPES.items()
        if name not in allowed_types(described)
    ]
    assert {field for field, _ in wrong} == set(fields)
    for _, line, tried in with_each(place, wrong):
        said = rf"response {place.good_status} is not as described: .+ \(\".*\"\)"
        tried.failed(InvalidResponse, line, said, IS_IT)


MANY_BYTES = 50_000_000
MEMORY_MIB = 160
"""What reading a response of that size may take beside what was taken before; its limit is 32 MiB,
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


LENGTH, CHUNKED = f"Content-Length: {MANY_BYTES}", "Transfer-Encoding: chunked"
LARGE = {
    "get-job-status": (PLACES["get-job-status"], 200, LENGTH),
    "get-job-logs, in chunks": (PLACES["get-job-logs"], 200, CHUNKED),
    "get-job-logs, an error": (PLACES["get-job-logs"], 500, LENGTH),
    "run-script-async, an error in chunks": (PLACES["run-script-async"], 500, CHUNKED),
}
"""Where a response of 50 MB comes, its status, and how its length is said."""


def parts(status: int, length: str) -> Iterator[Step]:
    """A response of 50 MB."""
    part = b'"' * 100_000
    yield f"HTTP/1.1 {status} Said\r\n{length}\r\n\r\n".encode()
    for _sent in range(0, MANY_BYTES, len(part)):
        yield b"%x\r\n%b\r\n" % (len(part), part) if length is CHUNKED else part


@pytest.mark.parametrize(("place", "status", "length"), LARGE.values(), ids=LARGE)
def test_a_response_of_50_mb_is_refused_and_takes_bounded_memory(
    place: Place, status: int, length: str
) -> None:
    with faulty(place, lambda *_: parts(status, length)) as server:
        done = subprocess.run(
            [sys.executable, "-c", READ, place.block, server.url],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    summary, message = done.stdout.splitlines()
    kind, kibibytes = summary.split()
    if status == 500:
        said = "500 no error of script-runner. This came from something other than script-runner"
        assert (kind, said in message) == ("RequestRejected", True), message
    else:
        said = f"at {server.url}: response 200 is larger than 32 MiB. {IS_IT}"
        assert (kind, message[-len(said) :]) == ("InvalidResponse", said)
    assert int(kibibytes) < MEMORY_MIB * 1024
