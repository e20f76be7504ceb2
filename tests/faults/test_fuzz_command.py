"""`make fuzz`: that it tries something, says what, and does not hide what it finds."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st

from scripts import fuzz
from tests.support.block_runner import ROOT

ENDS_SECONDS = 120


def run_planted(monkeypatch: pytest.MonkeyPatch, check: fuzz.Check, *arguments: str) -> int:
    """Run the command with one property, `check` of any whole number; returns its exit code."""

    @contextlib.contextmanager
    def planted() -> Iterator[list[fuzz.Property]]:
        yield [(st.integers(), check)]

    monkeypatch.setattr(fuzz, "FUZZERS", {"planted": planted})
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    return fuzz.main()


def test_all_four_fuzzers_run_and_hold() -> None:
    command = [sys.executable, "-m", "scripts.fuzz", "--seconds=1", "--seed=7"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=ENDS_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = re.findall(r"^(.+): [1-9]\d* examples in 1 s, all held$", done.stdout, re.MULTILINE)
    assert said == list(fuzz.FUZZERS)


def test_what_fails_is_shown_with_its_smallest_example_and_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(number: int) -> None:
        assert number < 1000, "too large"

    assert run_planted(monkeypatch, check, "--seconds=20", "--seed=7") == 1
    said = capsys.readouterr().out
    assert said.startswith("seed 7, 20 s each\n")
    assert "AssertionError: too large" in said
    assert re.search(r"^planted: FAILED after \d+ examples, seed \d+$", said, re.MULTILINE)
    assert said.endswith("the example that failed: 1000\n")


def test_without_an_example_nothing_has_held(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_planted(monkeypatch, lambda _: None, "--seconds=0") == 1
    assert "planted: FAILED after 0 examples" in capsys.readouterr().out


def test_the_end_of_the_time_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_planted(monkeypatch, lambda _: time.sleep(1.2), "--seconds=1") == 0
    assert "planted: 1 examples in 1 s, all held" in capsys.readouterr().out


def test_a_failure_at_the_end_of_the_time_is_made_small_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = time.monotonic()

    def check(number: int) -> None:
        time.sleep(max(0.0, begun + 1.1 - time.monotonic()))
        raise ValueError(number)

    assert run_planted(monkeypatch, check, "--seconds=1") == 1
    said = capsys.readouterr().out
    assert "Flaky" not in said
    assert said.endswith("the example that failed: 0\n")
