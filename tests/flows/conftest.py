"""What the tests of flows share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.package import ECHO, FAIL, Package


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """An OOMOL package with a block that returns its input and one that fails."""
    made = Package(tmp_path)
    made.block("echo", ECHO)
    made.block("fail", FAIL)
    return made
