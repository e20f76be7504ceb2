"""Fuzz the blocks and the local runner with examples made by chance, for as long as one likes.

`python -m scripts.fuzz --seconds 600` gives each of the properties that many seconds, prints how
many examples each had, and exits with 1 and the failing example where one does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from tests.faults import fuzzed_answers, fuzzing, raw_requests
from tests.local_runner import described_requests
from tests.local_runner.described_requests import Case
from tests.support import block_runner

ROUND_EXAMPLES = 100
"""How many examples are made from one seed."""

Check = Callable[[Any], None]
Property = tuple[st.SearchStrategy[Any], Check]
Fuzzer = Callable[[], AbstractContextManager[list[Property]]]
"""Gives the properties, to be tried in turn; on leaving it checks what is to hold in the end."""


class TimeIsOver(BaseException):
    """Ends the round that runs; Hypothesis takes only an Exception for a failure."""


class Trial:
    """Tries properties until the time is over.

    Attributes:
        examples: How many examples were checked.
        seed: The seed of the examples checked last.
        failed: The example that failed last, the smallest one found.
    """

    def __init__(self) -> None:
        """Nothing is tried yet."""
        self.examples = 0
        self.seed = 0
        self.failed: Any = None

    def run(self, properties: list[Property], seconds: float, seeds: random.Random) -> None:
        """Try the properties in turn, with new seeds each time."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeIsOver):
            for strategy, check in itertools.cycle(properties):
                self.seed = seeds.getrandbits(64)
                # Of some operations every request is a good one.
                with contextlib.suppress(Unsatisfiable):
                    self._round(strategy, check, deadline)

    def _round(self, strategy: st.SearchStrategy[Any], check: Check, deadline: float) -> None:
        chosen = settings(
            max_examples=ROUND_EXAMPLES,
            deadline=None,
            database=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )

        @hypothesis.seed(self.seed)
        @chosen
        @hypothesis.given(strategy)
        def property_of(example: Any) -> None:
            # An example that has failed is made small all the same.
            if time.monotonic() >= deadline and self.failed is None:
                raise TimeIsOver
            self.examples += 1
            try:
                check(example)
            except Exception:
                self.failed = example
                raise

        property_of()


def holds(name: str, fuzzer: Fuzzer, seconds: float, seeds: random.Random) -> bool:
    """Run a fuzzer and say what came of it."""
    trial = Trial()
    try:
        with fuzzer() as properties:
            trial.run(properties, seconds, seeds)
        assert trial.examples, "not one example was tried"
    except Exception as error:
        # The traceback has notes of Hypothesis, but it does not show every type of example.
        traceback.print_exception(error, file=sys.stdout)
        print(f"{name}: FAILED after {trial.examples} examples, seed {trial.seed}")
        print(f"the example that failed: {trial.failed!r}", flush=True)
        return False
    print(f"{name}: {trial.examples} examples in {seconds:g} s, all held", flush=True)
    return True


@contextlib.contextmanager
def inputs_of_blocks() -> Iterator[list[Property]]:
    """Any inputs for any block."""
    jobs = fuzzing.EndingJobs()
    with jobs.server:
        yield [(fuzzing.inputs(), lambda example: fuzzing.check_inputs(jobs, example))]


@contextlib.contextmanager
def answers_to_blocks() -> Iterator[list[Property]]:
    """Spoiled answers to any block."""
    yield [(fuzzed_answers.spoiled_answers(), fuzzed_answers.check_answers)]


@contextlib.contextmanager
def bytes_for_the_local_runner() -> Iterator[list[Property]]:
    """Raw bytes for a local runner."""
    examples = st.tuples(raw_requests.requests(), raw_requests.endings)
    with (
        tempfile.TemporaryDirectory() as folder,
        raw_requests.fuzzed_runner(Path(folder)) as runner,
        raw_requests.healthy_after(runner),
    ):
        yield [(examples, lambda example: raw_requests.check_request(runner, *example))]


@contextlib.contextmanager
def operations_of_the_local_runner() -> Iterator[list[Property]]:
    """Requests that Schemathesis makes up, for jobs and scripts that there are, and for others."""
    os.environ["NO_PROXY"] = "*"
    with (
        tempfile.TemporaryDirectory() as folder,
        described_requests.described_runner(Path(folder)) as runner,
    ):

        def check_anything(case: Case) -> None:
            described_requests.check_anything(case, runner)

        def check_allowed(case: Case) -> None:
            # A new job each time: queued, running or ended.
            job_id = runner.submit(described_requests.SCRIPT, "日志")
            described_requests.check_allowed(case, runner, job_id)

        known = described_requests.description().get_all_operations()
        operations = [each.ok() for each in known if isinstance(each, Ok)]
        yield [
            (operation.as_strategy(generation_mode=mode), check)
            for operation in operations
            for mode, check in (
                (GenerationMode.POSITIVE, check_allowed),
                (GenerationMode.POSITIVE, check_anything),
                (GenerationMode.NEGATIVE, check_anything),
            )
        ]
        errors = raw_requests.errors_of(runner)
        assert not errors, errors


FUZZERS: dict[str, Fuzzer] = {
    "inputs of blocks": inputs_of_blocks,
    "answers to blocks": answers_to_blocks,
    "bytes for the local runner": bytes_for_the_local_runner,
    "operations of the local runner": operations_of_the_local_runner,
}


def main() -> int:
    """Run every fuzzer for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600, help="for each property (600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:g} s each", flush=True)
    seeds = random.Random(arguments.seed)
    # Reading a manifest takes longer than running its block.
    with mock.patch.object(block_runner, "manifest", functools.cache(block_runner.manifest)):
        held = [holds(name, fuzzer, arguments.seconds, seeds) for name, fuzzer in FUZZERS.items()]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
