"""A short, always equal run of the fuzzers; `make fuzz` runs them for long and by chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.faults import fuzzed_answers, fuzzing, raw_requests
from tests.support.runner_process import RunnerProcess

SHORT = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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


@settings(SHORT, max_examples=400)
@given(example=fuzzing.inputs())
def test_any_input_is_sent_as_it_was_given_or_refused_before_anything_is_sent(
    jobs: fuzzing.EndingJobs, example: fuzzing.Inputs
) -> None:
    fuzzing.check_inputs(jobs, example)


@settings(SHORT, max_examples=200)
@given(spoiled=fuzzed_answers.spoiled_answers())
def test_any_answer_gives_declared_outputs_or_an_error_that_says_what_was_asked(
    spoiled: fuzzed_answers.Spoiled,
) -> None:
    fuzzed_answers.check_answers(spoiled)


def test_a_runner_answers_any_bytes_in_its_words_and_outlives_them(runner: RunnerProcess) -> None:
    @settings(SHORT, max_examples=120)
    @given(parts=raw_requests.requests(), ending=raw_requests.endings)
    def any_bytes(parts: list[bytes], ending: str) -> None:
        raw_requests.check_request(runner, parts, ending)

    with raw_requests.healthy_after(runner):
        any_bytes()
