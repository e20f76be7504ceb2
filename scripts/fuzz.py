"""Fuzz the blocks and the local runner with examples made by chance, for as long as one likes.

`python -m scripts.fuzz --seconds 600` gives each of the properties that many seconds, prints how
many examples each had, and exits with 1 and the failing example where one does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.result import Ok

import script_runner
from scripts.mock import DESCRIPTION
from tests.faults import fuzzing, raw_requests
from tests.local_runner.test_schemathesis import left_out
from tests.runner_process import RunnerProcess

ROUND_EXAMPLES = 200
"""How many examples are made from one seed."""

Check = Callable[[Any], None]
Property = tuple[st.SearchStrategy[Any], Check]


class Counted:
    """A check that counts its examples, and lets those pass for which there is no time left."""

    def __init__(self, check: Check, deadline: float) -> None:
        """Wrap a check."""
        self.examples = 0
        self._check = check
        self._deadline = deadline

    def __call__(self, example: Any) -> None:
        """Check an example."""
        if time.monotonic() < self._deadline:
            self.examples += 1
            self._check(example)


def fuzz(name: str, properties: list[Property], seconds: float, seeds: random.Random) -> bool:
    """Try the properties in turn with new seeds until the time is over; say what came of it."""
    tried = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for strategy, check in properties:
            seed = seeds.getrandbits(64)
            counted = Counted(check, deadline)
            try:
                _round(strategy, counted, seed)
            except Unsatisfiable:
                # Of some operations every request is a good one.
                continue
            # Also the group of errors that is raised where examples fail in several ways.
            except Exception as error:
                notes = "\n".join(getattr(error, "__notes__", []))
                tried += counted.examples
                print(f"{name}: FAILED after {tried} examples, seed {seed}: {error!r}\n{notes}")
                return False
            tried += counted.examples
    print(f"{name}: {tried} examples in {seconds:g} s, all held", flush=True)
    return True


def _round(strategy: st.SearchStrategy[Any], check: Check, seed: int) -> None:
    chosen = settings(
        max_examples=ROUND_EXAMPLES,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(seed)
    @chosen
    @hypothesis.given(strategy)
    def property_of(example: Any) -> None:
        check(example)

    property_of()


def fuzz_inputs(seconds: float, seeds: random.Random) -> bool:
    """Any inputs for any block."""
    jobs = fuzzing.EndingJobs()
    with jobs.server:
        check: Check = lambda example: fuzzing.check_inputs(jobs, *example)  # noqa: E731
        return fuzz("inputs of blocks", [(fuzzing.inputs(), check)], seconds, seeds)


def fuzz_answers(seconds: float, seeds: random.Random) -> bool:
    """Spoiled answers to any block."""

    def check(example: tuple[str, list[bytes]]) -> None:
        fuzzing.check_answers(*example)

    return fuzz("answers to blocks", [(fuzzing.spoiled_answers(), check)], seconds, seeds)


@contextlib.contextmanager
def running() -> Iterator[RunnerProcess]:
    """A local runner in a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        raw_requests.fuzzed_runner(Path(folder)) as runner,
    ):
        yield runner


def fuzz_bytes(seconds: float, seeds: random.Random) -> bool:
    """Raw bytes for a local runner."""
    with running() as runner:
        raw_requests.check_request(runner, raw_requests.TEMPLATES, "close")
        before = raw_requests.open_files(runner)

        def check(example: tuple[list[bytes], str]) -> None:
            raw_requests.check_request(runner, *example)

        examples = st.tuples(raw_requests.requests(), raw_requests.endings)
        held = fuzz("bytes for the local runner", [(examples, check)], seconds, seeds)
        if held:
            raw_requests.check_no_leak(runner, before)
        return held


def fuzz_operations(seconds: float, seeds: random.Random) -> bool:
    """Requests that Schemathesis makes up from the description, for a local runner."""
    os.environ["NO_PROXY"] = "*"
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    generation = GenerationConfig(modes=modes, allow_x00=False)
    project = ProjectConfig(generation=generation)
    config = SchemathesisConfig(
        seed=seeds.getrandbits(32), projects=ProjectsConfig(default=project)
    )
    description = schemathesis.openapi.from_path(DESCRIPTION, config=config)
    with running() as runner:

        def check(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(base_url=runner.url, excluded_checks=left_out(case))

        operations = [
            each.ok() for each in description.get_all_operations() if isinstance(each, Ok)
        ]
        properties: list[Property] = [
            (operation.as_strategy(generation_mode=mode), check)
            for operation in operations
            for mode in modes
        ]
        held = fuzz("operations of the local runner", properties, seconds, seeds)
        errors = raw_requests.errors_of(runner)
        if errors:
            print(f"the local runner has logged errors: {errors}")
        return held and not errors


def main() -> int:
    """Run every fuzzer for as long as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600, help="for each property (600)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:g} s each", flush=True)
    # An answer that does not come whole is waited for a moment only.
    defaults = script_runner.Runner.call.__kwdefaults__
    assert defaults is not None
    defaults["time_limit_seconds"] = script_runner.SYNC_RUN_SECONDS = 0.5
    seeds = random.Random(arguments.seed)
    fuzzers = (fuzz_inputs, fuzz_answers, fuzz_bytes, fuzz_operations)
    held = [each(arguments.seconds, seeds) for each in fuzzers]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
