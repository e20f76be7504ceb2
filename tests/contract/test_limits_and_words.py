"""Page sizes, limits and status words of both packages are those of the spec."""

from __future__ import annotations

import re
from typing import Any

from local_runner.http import app
from local_runner.http.bodies import MAX_BODY_BYTES
from local_runner.jobs import record
from script_runner import Settings, Status
from script_runner._settings import DEFAULT_PAGE_BYTES, MAX_PAGE_BYTES
from script_runner._validation import wire_name
from script_runner.logs import STREAMS
from script_runner.oomol.words import STATUS_OF_WIRE
from tests.support.spec import load

SPEC = load()


def parameter(name: str) -> dict[str, Any]:
    """The schema of a parameter of getJobLogs."""
    parameters = SPEC["paths"]["/jobs/{jobId}/logs"]["get"]["parameters"]
    [schema] = [each["schema"] for each in parameters if each.get("name") == name]
    return dict(schema)


def test_the_page_sizes_are_those_of_the_spec() -> None:
    limit = parameter("limit")
    assert limit["default"] == DEFAULT_PAGE_BYTES == app.DEFAULT_LIMIT
    assert limit["maximum"] == MAX_PAGE_BYTES == app.MAX_LIMIT == Settings().page_bytes
    # Each byte of a page may be an escape of six bytes in JSON.
    assert Settings().max_response_bytes > 6 * MAX_PAGE_BYTES


def test_the_largest_body_is_that_of_the_spec() -> None:
    said = SPEC["components"]["responses"]["BodyTooLarge"]["description"]
    assert f"larger than {MAX_BODY_BYTES // 2**20} MiB" in said


def test_the_words_for_the_state_of_a_job_are_those_of_the_spec() -> None:
    said = SPEC["components"]["schemas"]["JobStatus"]["description"]
    words = set(re.findall(r"`(\w+)`", said))
    for known in (Status, record.Status, STATUS_OF_WIRE):
        assert words == {str(word) for word in known}


def test_the_streams_are_those_of_the_spec() -> None:
    assert set(parameter("stream")["enum"]) == set(STREAMS)


def test_the_names_of_fields_in_messages_are_those_of_the_spec() -> None:
    for schema in ("Job", "LogPage", "AcceptedJob", "Error", "ErrorDetail"):
        for name in SPEC["components"]["schemas"][schema]["properties"]:
            assert wire_name(re.sub(r"([A-Z])", lambda upper: f"_{upper[0].lower()}", name)) == name
