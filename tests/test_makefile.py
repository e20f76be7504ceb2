"""The Makefile: what it says if it cannot install what a command needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("python", "found"),
    [(None, "is not there"), ('[ "$1" = --version ] && echo Python 3.9.2', "is Python 3.9.2")],
    ids=["missing", "too old"],
)
def test_a_python_that_does_not_do_is_named(tmp_path: Path, python: str | None, found: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    program = tmp_path / "a-python"
    if python:
        program.write_text(f"#!/bin/sh\n{python}\n")
        program.chmod(0o755)

    made = subprocess.run(
        ["make", f"PYTHON={program}", "demo"],
        cwd=tmp_path,
        # Without what `make test` hands down.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.splitlines()[0] == (
        f"Python 3.11 or newer is needed, {program} {found}: name a newer one, such as "
        "make PYTHON=python3.12 demo"
    )


def test_a_flow_keeps_its_own_url_unless_one_is_given() -> None:
    """It may be a reference to a secret."""
    for given, passed in (([], False), (["URL=http://runner.example:3000"], True)):
        # Only what would be done; what is installed is as it is.
        command = ["make", "--dry-run", "--assume-old=.venv/demo-ready", "flow", *given]
        environment = {"PATH": os.environ["PATH"]}
        shown = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert ("--url" in shown) is passed
