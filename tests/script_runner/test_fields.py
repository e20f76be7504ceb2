"""Each field of each answer, missing or of a wrong type: never a value of that type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from generated_client.api.jobs import get_job, get_job_logs, run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner import InvalidResponse, Runner, connect
from tests.script_runner.documented import documented
from tests.support.description import load
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, json_answer

SCHEMAS = load()["components"]["schemas"]
WRONG: dict[str, object] = {
    "null": None,
    "boolean": True,
    "integer": 5,
    "number": 1.5,
    "string": "text",
    "array": [],
    "object": {},
}
"""A value of each JSON type."""

Call = Callable[[Runner], object]
ANSWERS: dict[str, tuple[Call, int, dict[str, Any]]] = {
    "Job": (
        lambda runner: runner.call(get_job, "job_1"),
        200,
        documented("getJob", "failed"),
    ),
    "LogPage": (
        lambda runner: runner.call(get_job_logs, "job_1"),
        200,
        documented("getJobLogs", "whole"),
    ),
    "AcceptedJob": (
        lambda runner: runner.call(run_script, body=RunRequest("say"), returns=AcceptedJob),
        202,
        documented("runScript", "running"),
    ),
}


def allowed_types(field: dict[str, Any]) -> set[str]:
    """The JSON types that the description allows for a field."""
    if "$ref" in field:
        return allowed_types(SCHEMAS[field["$ref"].rpartition("/")[2]])
    types = field["type"]
    allowed = {types} if isinstance(types, str) else set(types)
    # Not any text is a time.
    return allowed - {"string"} if field.get("format") == "date-time" else allowed


FIELDS = [(schema, name) for schema in ANSWERS for name in SCHEMAS[schema]["properties"]]
WRONG_TYPES = [
    (schema, name, json_type)
    for schema, name in FIELDS
    for json_type in WRONG
    if json_type not in allowed_types(SCHEMAS[schema]["properties"][name])
]


class Answering:
    """A server that answers with a body that can be set."""

    def __init__(self) -> None:
        self.status = 200
        self.body: dict[str, Any] = {}
        self.server = MisbehavingServer(self.answer)

    def answer(self, _: Request) -> list[Step]:
        return [json_answer(self.status, self.body)]


@pytest.fixture(scope="module")
def answering() -> Iterator[Answering]:
    made = Answering()
    with made.server:
        yield made


def assert_is_invalid(answering: Answering, schema: str, body: dict[str, Any], why: str) -> None:
    call, answering.status, _ = ANSWERS[schema]
    answering.body = body
    with pytest.raises(InvalidResponse) as caught:
        call(connect(answering.server.url))
    said = rf"(GET|POST) /\S+ at {answering.server.url}: answer {answering.status} {why}.*"
    assert re.fullmatch(rf"{said} Is this the URL of a script-runner\?", str(caught.value))


def test_every_field_of_an_answer_is_tested() -> None:
    for schema, (_, _, body) in ANSWERS.items():
        assert set(body) == set(SCHEMAS[schema]["required"]) == set(SCHEMAS[schema]["properties"])
    assert len(WRONG_TYPES) > 5 * len(FIELDS)


@pytest.mark.parametrize("schema", ANSWERS)
def test_an_answer_as_described_is_returned(answering: Answering, schema: str) -> None:
    call, answering.status, answering.body = ANSWERS[schema]
    answer: Any = call(connect(answering.server.url))
    assert type(answer).__name__ == schema
    assert set(answer.to_dict()) == set(answering.body)


@pytest.mark.parametrize(("schema", "name"), FIELDS)
def test_a_missing_field_is_an_invalid_response(
    answering: Answering, schema: str, name: str
) -> None:
    body = dict(ANSWERS[schema][2])
    del body[name]
    assert_is_invalid(answering, schema, body, f"lacks the field {name}")


@pytest.mark.parametrize(("schema", "name", "json_type"), WRONG_TYPES)
def test_a_field_of_a_wrong_type_is_an_invalid_response(
    answering: Answering, schema: str, name: str, json_type: str
) -> None:
    body = ANSWERS[schema][2] | {name: WRONG[json_type]}
    assert_is_invalid(answering, schema, body, "is not as described: ")


@pytest.mark.parametrize("name", ["status", "stdoutPreview", "jobId"])
def test_half_a_surrogate_pair_is_an_invalid_response(answering: Answering, name: str) -> None:
    body = ANSWERS["Job"][2] | {name: "a\ud83d"}
    assert_is_invalid(answering, "Job", body, "is not as described: .*surrogates not allowed")
