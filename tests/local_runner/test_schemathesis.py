"""The local runner against its description: requests that Schemathesis makes up from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from schemathesis import GenerationMode

from scripts.runner_process import RunnerProcess
from tests.local_runner.described_requests import (
    LISTS,
    SCRIPT,
    Case,
    check_allowed,
    check_anything,
    described_runner,
    requests_of,
)

EXAMPLES = 100

anything = requests_of(max_examples=EXAMPLES, deterministic=True)
lists = requests_of(path=LISTS, max_examples=EXAMPLES, deterministic=True)
valid = requests_of([GenerationMode.POSITIVE], max_examples=EXAMPLES, deterministic=True)
valid_lists = requests_of(
    [GenerationMode.POSITIVE], LISTS, max_examples=EXAMPLES, deterministic=True
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with (
        pytest.MonkeyPatch.context() as patch,
        described_runner(tmp_path_factory.mktemp("schemathesis")) as started,
    ):
        patch.setenv("NO_PROXY", "*")
        yield started


@pytest.fixture(scope="module")
def job_id(runner: RunnerProcess) -> str:
    return str(runner.run(SCRIPT, "日志", "log")["jobId"])


@anything.parametrize()
def test_whatever_is_asked_the_response_is_one_of_the_spec(
    case: Case, runner: RunnerProcess
) -> None:
    check_anything(case, runner)


@valid.parametrize()
def test_what_the_spec_allows_is_done(case: Case, runner: RunnerProcess, job_id: str) -> None:
    check_allowed(case, runner, job_id)


@lists.parametrize()
def test_whatever_is_asked_of_the_lists_the_response_is_one_of_their_spec(
    case: Case, runner: RunnerProcess, job_id: str
) -> None:
    assert job_id
    check_anything(case, runner)


@valid_lists.parametrize()
def test_every_list_that_is_described_is_given(
    case: Case, runner: RunnerProcess, job_id: str
) -> None:
    if "before" in case.query:
        case.query["before"] = job_id
    check_allowed(case, runner, job_id)
