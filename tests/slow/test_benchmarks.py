"""The measurements: that they measure; what comes out depends on the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.blocks import ROOT


@pytest.mark.parametrize("name", ["short-jobs", "wait"])
def test_a_subject_is_measured_and_shown_with_its_targets(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", name],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert "(target " in done.stdout
    assert "targets" in done.stdout.splitlines()[-1]
