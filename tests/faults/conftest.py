"""What all faults share: short limits, small pages, and nothing remembered of another server."""

from __future__ import annotations

import pytest

import script_runner
from script_runner import Runner, failures, lines, pages, transport, waiting
from tests.faults.places import PAGE_BYTES

LIMIT_SECONDS = 0.1


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the logs read before: another server may listen at the port of an earlier one."""
    monkeypatch.setattr(lines, "_indexes", lines._Indexes())


@pytest.fixture
def soon_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a runner that is away for a moment only."""
    monkeypatch.setattr(waiting, "AWAY_SECONDS", LIMIT_SECONDS)


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: the pauses would take most of the time of many short waits."""
    monkeypatch.setattr(waiting, "FIRST_INTERVAL_SECONDS", 0.001)


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> float:
    """Every time limit of the product, made short; returns it in seconds."""
    monkeypatch.setattr(waiting, "AWAY_SECONDS", LIMIT_SECONDS)
    for module in (pages, waiting):
        monkeypatch.setattr(module, "ANSWER_SECONDS", LIMIT_SECONDS)
    defaults = Runner.call.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "time_limit_seconds", LIMIT_SECONDS)
    monkeypatch.setattr(script_runner, "SYNC_RUN_SECONDS", LIMIT_SECONDS)
    for module in (failures, transport):
        monkeypatch.setattr(module, "CONNECT_SECONDS", LIMIT_SECONDS)
    return LIMIT_SECONDS


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages so small that a short log has several."""
    for module in (lines, pages):
        monkeypatch.setattr(module, "PAGE_BYTES", PAGE_BYTES)
