"""Examples made by chance: one round of them in each test run, `make fuzz` for long."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from tests.local_runner import described_requests
from tests.local_runner.described_requests import Case
from tests.slow.fuzz import inputs, raw_requests, responses

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""How long each property is tried; 0 for one round, of the same examples each time."""

Property = tuple[st.SearchStrategy[Any], Callable[[Any], None]]


def assert_holds(examples: int, *properties: Property) -> None:
    """Check properties with examples made by chance; Hypothesis shows the smallest that fails.

    Args:
        examples: How many of them a round has.
        properties: How examples are made, and what raises if something does not hold of one.
    """
    end = time.monotonic() + SECONDS
    seeds = random.Random() if SECONDS else random.Random(1)
    tried = 0
    for number, (strategy, check) in enumerate(itertools.cycle(properties)):
        if number >= len(properties) and time.monotonic() >= end:
            break
        # Of some operations every request is a good one.
        with contextlib.suppress(Unsatisfiable):
            tried += try_round(strategy, check, examples, seeds.getrandbits(64))
    assert tried
    print(f"{tried:,} examples, all held")


def try_round(
    strategy: st.SearchStrategy[Any], check: Callable[[Any], None], examples: int, seed: int
) -> int:
    """Check a property with the examples of a seed; returns how many there were."""
    tried = 0

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def property_of(example: Any) -> None:
        nonlocal tried
        tried += 1
        check(example)

    property_of()
    return tried


def test_any_input_is_sent_as_it_was_given_or_refused_before_anything_is_sent() -> None:
    jobs = inputs.EndingJobs()
    with jobs.server:
        assert_holds(400, (inputs.inputs(), lambda example: inputs.check_inputs(jobs, example)))


def test_any_response_gives_declared_outputs_or_an_error_that_says_what_was_asked() -> None:
    assert_holds(200, (responses.spoiled_responses(), responses.check_responses))


def test_a_runner_responds_to_any_bytes_in_its_words_and_outlives_them(tmp_path: Path) -> None:
    made = st.tuples(raw_requests.requests(), raw_requests.endings)
    with raw_requests.fuzzed_runner(tmp_path) as runner, raw_requests.healthy_after(runner):
        assert_holds(120, (made, lambda example: raw_requests.check_request(runner, *example)))


def test_a_runner_responds_to_any_request_made_of_its_spec_as_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with described_requests.described_runner(tmp_path) as runner:

        def check_anything(case: Case) -> None:
            described_requests.check_anything(case, runner)

        def check_allowed(case: Case) -> None:
            # A new job each time: queued, running or ended.
            job_id = runner.submit(described_requests.SCRIPT, "日志")
            described_requests.check_allowed(case, runner, job_id)

        known = described_requests.requests_of().get_all_operations()
        assert_holds(
            # `test_schemathesis` has more of them.
            100 if SECONDS else 5,
            *(
                (operation.ok().as_strategy(generation_mode=mode), check)
                for operation in known
                if isinstance(operation, Ok)
                for mode, check in (
                    (GenerationMode.POSITIVE, check_allowed),
                    (GenerationMode.POSITIVE, check_anything),
                    (GenerationMode.NEGATIVE, check_anything),
                )
            ),
        )
        assert not raw_requests.errors_among(runner.logged())
