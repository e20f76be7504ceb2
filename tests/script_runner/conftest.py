"""What the tests of the library share."""

from __future__ import annotations

import pytest

from script_runner import disconnect
from tests.script_runner.verbs import connected

__all__ = ["connected"]

PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


@pytest.fixture(autouse=True)
def _undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner of another test, whose port may be used again, and no proxy of the environment."""
    disconnect()
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
