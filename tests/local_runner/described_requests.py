"""Requests that Schemathesis makes up from the spec, for a local runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from scripts.mock import SPEC
from scripts.runner_process import RunnerProcess

SCRIPT = "quick-echo"
"""The script in the examples of the spec."""

MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

Case = schemathesis.Case[Any]


LISTS = SPEC.with_name("local-runner.yaml")
"""The spec of what the local runner adds."""


def requests_of(
    modes: Sequence[GenerationMode] = MODES, path: Path = SPEC, **generation: Any
) -> schemathesis.BaseSchema:
    """The spec, read so that the same requests are made up at every run.

    Args:
        path: Which spec.
        modes: Whether requests that it allows are made up, and such that it does not allow.
        generation: Other settings of what is made up.
    """
    settings = GenerationConfig(modes=list(modes), allow_x00=False, **generation)
    project = ProjectConfig(generation=settings)
    config = SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_path(path, config=config)


def described_runner(folder: Path) -> RunnerProcess:
    """A runner whose one script takes any arguments."""
    takes_anything = {"args": {"maxItems": 1000, "itemMaxLength": 100_000}}
    script = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"
    return RunnerProcess(folder, {SCRIPT: script}, rules={SCRIPT: takes_anything})


def check_anything(case: Case, runner: RunnerProcess) -> None:
    """Whatever is asked, the response is one of the spec."""
    case.call_and_validate(base_url=runner.url, excluded_checks=_left_out(case))


def check_allowed(case: Case, runner: RunnerProcess, job_id: str) -> None:
    """What the spec allows is done, where there is such a job and such a script."""
    if "jobId" in case.path_parameters:
        case.path_parameters["jobId"] = job_id
    if isinstance(case.body, dict):
        case.body["scriptId"] = SCRIPT
    response = case.call_and_validate(base_url=runner.url, excluded_checks=_left_out(case))
    assert response.status_code in (200, 202)


def _left_out(case: Case) -> list[CheckFunction]:
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
    # Which scripts there are, and which arguments they take, is not in the spec.
    if body.get("scriptId") != SCRIPT:
        checks.append(positive_data_acceptance)
    return checks
