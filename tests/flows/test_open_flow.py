"""The document that the local runner serves is one that Open Flow's `openapi` node takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from local_runner.http.openapi import document

URL = "http://host.docker.internal:3000"
DOCUMENT: dict[str, Any] = document(URL)
MOST_BYTES = 4 * 1024 * 1024
"""What Open Flow fetches of a document at most."""
JSON = "application/json"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def resolved(node: Any) -> Any:
    """A node, or what it refers to, which must be in the document."""
    while "$ref" in node:
        assert node["$ref"].startswith("#/"), node
        found: Any = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        node = found
    return node


def mappings(node: Any) -> Iterator[dict[str, Any]]:
    """Each mapping of the document, but examples, which Open Flow does not read."""
    if isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key not in ("example", "examples", "default"):
                yield from mappings(value)
    elif isinstance(node, list):
        for one in node:
            yield from mappings(one)


def operations() -> dict[str, dict[str, Any]]:
    """The operations by their ids; the method is that of `method`."""
    return {
        operation["operationId"]: {**operation, "method": method}
        for path in DOCUMENT["paths"].values()
        for method, operation in path.items()
        if method in METHODS
    }


def test_it_is_a_small_document_of_a_version_that_is_read() -> None:
    assert re.fullmatch(r"3\.[01]\.\d+", str(DOCUMENT["openapi"]))
    assert len(json.dumps(DOCUMENT)) < MOST_BYTES


def test_its_first_server_is_the_url_it_was_called_by() -> None:
    (server,) = DOCUMENT["servers"]

    parts = urlsplit(server["url"])
    assert server["url"] == URL
    assert (parts.username, parts.query, parts.fragment) == (None, "", "")


def test_every_reference_leads_to_something_in_it() -> None:
    referring = [node for node in mappings(DOCUMENT) if "$ref" in node]

    assert referring
    for node in referring:
        assert resolved(node)


def test_no_schema_is_of_a_kind_that_is_not_read() -> None:
    for node in mappings(DOCUMENT):
        assert not {"$id", "$dynamicRef"} & node.keys()
        assert node.get("format") != "binary"


def test_a_runner_without_a_token_asks_for_no_credentials_and_one_with_may_get_two_kinds() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]

    # The first that it can do is the one that is preselected.
    assert DOCUMENT["security"] == [{}, {"basicAuth": []}, {"bearerAuth": []}]
    assert [resolved(schemes[name])["scheme"] for name in ("basicAuth", "bearerAuth")] == [
        "basic",
        "bearer",
    ]
    assert all("security" not in operation for operation in operations().values())


def test_it_has_the_operations_that_a_flow_needs() -> None:
    assert operations().keys() >= {"runScript", "getJob", "getJobLogs", "cancelJob"}


@pytest.mark.parametrize("name", operations())
def test_an_operation_can_be_called(name: str) -> None:
    operation = operations()[name]

    for parameter in map(resolved, operation.get("parameters", [])):
        assert parameter["in"] in ("path", "query", "header")
        assert "schema" in parameter
        assert not {"content", "style", "allowReserved"} & parameter.keys()
    if "requestBody" in operation:
        assert operation["method"] not in ("get", "head")
        assert JSON in resolved(operation["requestBody"])["content"]


@pytest.mark.parametrize("name", operations())
def test_every_good_response_of_an_operation_is_declared_as_json(name: str) -> None:
    responses = operations()[name]["responses"]
    good = {status for status in responses if status.startswith("2")}

    assert good == ({"200", "202"} if name == "runScript" else {"200"})
    assert all(list(resolved(responses[status])["content"]) == [JSON] for status in good)
