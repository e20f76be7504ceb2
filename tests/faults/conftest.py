"""What all faults share: short limits, small pages, and nothing remembered of another server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from script_runner import disconnect
from tests.faults import attempts
from tests.faults.places import PAGE_BYTES

LIMIT_SECONDS = 0.1


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the runners connected before: another server may listen at the port of one."""
    disconnect()
    # Undone after the test, whatever its fixtures set.
    monkeypatch.setattr(attempts, "settings", attempts.settings)


def change(**changes: Any) -> None:
    """Change times and limits of the blocks."""
    attempts.settings = dataclasses.replace(attempts.settings, **changes)


@pytest.fixture
def soon_gone() -> None:
    """Wait for the output of a job that has ended for a moment only."""
    change(missing_output_seconds=LIMIT_SECONDS)


@pytest.fixture
def quick_looks() -> None:
    """Poll again at once: the pauses would take most of the time of many short waits."""
    change(first_poll_seconds=0.001)


@pytest.fixture
def short_limits() -> float:
    """Every timeout of the product, made short; returns it in seconds."""
    change(
        missing_output_seconds=LIMIT_SECONDS,
        response_seconds=LIMIT_SECONDS,
        sync_run_seconds=LIMIT_SECONDS,
        connect_seconds=LIMIT_SECONDS,
    )
    return LIMIT_SECONDS


@pytest.fixture
def small_pages() -> None:
    """Pages so small that a short log has several."""
    change(page_bytes=PAGE_BYTES)
