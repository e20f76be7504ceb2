"""What all tests share: their order, the signals they may be sent, the mock of the API."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from scripts.mock import prism

# Whoever is told to ignore a signal, as by nohup or in the background of a script, has all that it
# starts ignore it, and some tests would wait without end. A handler is not handed on.
signal.signal(signal.SIGHUP, lambda *_: None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


HEAVY = ("slow", "local_runner", "flows", "contract")
"""Folders whose tests take long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first: at the end every process shall have something to do."""
    folders = {name: number for number, name in enumerate(HEAVY)}
    items.sort(key=lambda item: min(folders.get(part, len(HEAVY)) for part in item.path.parts))


@pytest.fixture(scope="session")
def mock_url() -> Iterator[str]:
    """The URL of a Prism mock of the spec, started once for the run."""
    with prism(["mock"]) as url:
        yield url
