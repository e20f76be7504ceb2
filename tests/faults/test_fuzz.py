"""A short, always equal run of the fuzzers; `make fuzz` runs them for long and by chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.faults import fuzzing, raw_requests
from tests.runner_process import RunnerProcess

SHORT = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pytestmark = pytest.mark.usefixtures("soon_gone")


@pytest.fixture(scope="module")
def jobs() -> Iterator[fuzzing.EndingJobs]:
    made = fuzzing.EndingJobs()
    with made.server:
        yield made


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    with raw_requests.fuzzed_runner(folder) as started:
        yield started


@settings(SHORT, max_examples=600)
@given(example=fuzzing.inputs())
def test_any_input_is_a_valid_call_or_refused_before_anything_is_sent(
    jobs: fuzzing.EndingJobs, example: tuple[str, dict[str, Any]]
) -> None:
    fuzzing.check_inputs(jobs, *example)


@settings(SHORT, max_examples=350)
@given(example=fuzzing.spoiled_answers())
def test_any_answer_gives_declared_outputs_or_an_error_of_the_product(
    example: tuple[str, list[bytes]],
) -> None:
    fuzzing.check_answers(*example)


def test_a_runner_outlives_any_bytes(runner: RunnerProcess) -> None:
    raw_requests.check_request(runner, raw_requests.TEMPLATES, "close")
    before = raw_requests.open_files(runner)

    @settings(SHORT, max_examples=120)
    @given(parts=raw_requests.requests(), ending=raw_requests.endings)
    def any_bytes(parts: list[bytes], ending: str) -> None:
        raw_requests.check_request(runner, parts, ending)

    any_bytes()
    raw_requests.check_no_leak(runner, before)
