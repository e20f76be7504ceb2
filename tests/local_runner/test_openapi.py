"""`GET /openapi.json`: a whole spec, with the URL by which the runner was called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from local_runner.http.openapi import document
from scripts.runner_process import RunnerProcess
from tests.local_runner.talk import send
from tests.support import spec

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with RunnerProcess(
        tmp_path_factory.mktemp("openapi"),
        {"echo": "#!/bin/sh\n"},
        server={"allowedHosts": ["box.local"]},
        environment={"SCRIPT_RUNNER_TOKEN": "secret"},
    ) as started:
        yield started


@pytest.mark.parametrize(
    "host", ["localhost:3000", "box.local", "[::1]:3000", "host.docker.internal:3000"]
)
def test_the_operations_are_where_the_document_was_found(runner: RunnerProcess, host: str) -> None:
    response = send(
        runner.url, "GET /openapi.json", [f"Host: {host}", "Authorization: Bearer secret"]
    )

    assert response.status == 200
    assert json.loads(response.body) == document(f"http://{host}")
    assert json.loads(response.body)["servers"] == [{"url": f"http://{host}"}]


def test_it_is_under_the_same_guard_as_all_else(runner: RunnerProcess) -> None:
    right = "Authorization: Bearer secret"

    assert send(runner.url, "GET /openapi.json", ["Host: localhost"]).status == 401
    assert send(runner.url, "GET /openapi.json", ["Host: evil.example", right]).status == 403


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_it_is_what_a_node_that_calls_an_api_by_its_spec_takes() -> None:
    """JSON of at most 4 MiB, no reference outside, JSON bodies, Basic or Bearer, each 2xx."""
    whole: Any = document("http://localhost:3000")
    validate(whole)
    assert len(json.dumps(whole)) < 4 * MIB
    assert all(node["$ref"].startswith("#/") for node in nodes(whole) if "$ref" in node)
    schemes = whole["components"]["securitySchemes"].values()
    assert {(scheme["type"], scheme["scheme"]) for scheme in schemes} == {
        ("http", "basic"),
        ("http", "bearer"),
    }
    for node in nodes(whole):
        if "content" in node and isinstance(node["content"], dict):
            assert list(node["content"]) == ["application/json"]
    for operations in whole["paths"].values():
        for operation in operations.values():
            if "responses" in operation:
                assert any(status.startswith("2") for status in operation["responses"])


def test_it_has_the_operations_of_the_wire_and_those_of_this_runner() -> None:
    paths: Any = document("http://localhost:3000")["paths"]

    found = {
        operation.get("operationId")
        for path in paths.values()
        for operation in path.values()
        if isinstance(operation, dict)
    }
    assert found == {"runScript", "getJob", "getJobLogs", "cancelJob", "listJobs", "listScripts"}
    for path, described in spec.load()["paths"].items():
        assert paths[path] == described
