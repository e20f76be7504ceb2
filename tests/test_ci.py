"""`.ci/run`: what it checks before `make check`, with stand-ins for the programs it calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".ci" / "run"
INSTALLS = 'for name; do :; done; cp "$0" "$(dirname "$0")/$name"'
"""What `apt-get install` comes to: a program of the name of the last argument."""


def run(folder: Path, **programs: str) -> tuple[int, str, str]:
    """Run it where there are no programs but these; returns exit code, stdout and stderr."""
    for name in ("bash", "sh", "cp", "dirname"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, text in {"make": 'echo "make $*"', "id": "echo 0", **programs}.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [SCRIPT], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", ["chromium", "chromium_browser"])
def test_with_a_chromium_it_makes_the_check(tmp_path: Path, name: str) -> None:
    assert run(tmp_path, **{name: "", "apt_get": "exit 9"}) == (0, "make --jobs=2 check\n", "")


def test_a_chromium_that_is_missing_is_installed(tmp_path: Path) -> None:
    assert run(tmp_path, apt_get=INSTALLS) == (0, "make --jobs=2 check\n", "")


@pytest.mark.parametrize("programs", [{}, {"apt_get": "echo 'no network' >&2; exit 100"}])
def test_without_a_chromium_it_fails_and_says_why(tmp_path: Path, programs: dict[str, str]) -> None:
    code, printed, said = run(tmp_path, **programs)

    assert (code, printed) == (1, "")
    assert said.splitlines()[-1] == (
        ".ci/run: chromium is not here and cannot be installed: tests/slow/browser would be skipped"
    )
    assert ("no network" in said) == bool(programs)


def test_without_root_it_says_what_is_not_tested(tmp_path: Path) -> None:
    code, printed, said = run(tmp_path, id="echo 1000", chromium="")

    assert (code, printed) == (0, "make --jobs=2 check\n")
    assert said == ".ci/run: not root: the test of a disk that is really full will be skipped\n"
