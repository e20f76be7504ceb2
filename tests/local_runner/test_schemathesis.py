"""The local runner against its description: requests that Schemathesis makes up from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from scripts.mock import DESCRIPTION
from tests.runner_process import RunnerProcess

EXAMPLES = 100
SCRIPT = "quick-echo"
"""The script in the examples of the description."""


Case = schemathesis.Case[Any]


def description(*modes: GenerationMode) -> schemathesis.BaseSchema:
    """The description, read so that the same requests are made up at every run."""
    generation = GenerationConfig(
        modes=list(modes),
        max_examples=EXAMPLES,
        deterministic=True,
        allow_x00=False,
    )
    project = ProjectConfig(generation=generation)
    config = SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_path(DESCRIPTION, config=config)


anything = description(GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
valid = description(GenerationMode.POSITIVE)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    takes_anything = {"args": {"maxItems": 1000, "itemMaxLength": 100_000}}
    with (
        pytest.MonkeyPatch.context() as patch,
        RunnerProcess(
            tmp_path_factory.mktemp("schemathesis"),
            {SCRIPT: "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"},
            rules={SCRIPT: takes_anything},
        ) as started,
    ):
        patch.setenv("NO_PROXY", "*")
        yield started


@pytest.fixture(scope="module")
def job_id(runner: RunnerProcess) -> str:
    return str(runner.run(SCRIPT, "日志", "log")["jobId"])


def left_out(case: Case) -> list[CheckFunction]:
    """The checks that the wire contradicts."""
    # An unknown method is 404 on the wire, like an unknown route.
    checks: list[CheckFunction] = [unsupported_method]
    # A body that is not JSON is 500 on the wire.
    if isinstance(case.body, bytes):
        checks.append(not_a_server_error)
    body = case.body if isinstance(case.body, dict) else {}
    # An unknown mode is treated as left out.
    if "mode" in body and body["mode"] not in ("sync", "async"):
        checks.append(negative_data_rejection)
    # Which scripts there are, and which arguments they take, is not in the description.
    if body.get("scriptId") != SCRIPT:
        checks.append(positive_data_acceptance)
    return checks


@anything.parametrize()
def test_whatever_is_asked_the_answer_is_one_of_the_description(
    case: Case, runner: RunnerProcess
) -> None:
    case.call_and_validate(base_url=runner.url, excluded_checks=left_out(case))


@valid.parametrize()
def test_what_the_description_allows_is_done(
    case: Case, runner: RunnerProcess, job_id: str
) -> None:
    if "jobId" in case.path_parameters:
        case.path_parameters["jobId"] = job_id
    if isinstance(case.body, dict):
        case.body["scriptId"] = SCRIPT

    answer = case.call_and_validate(base_url=runner.url, excluded_checks=left_out(case))

    assert answer.status_code in (200, 202)
