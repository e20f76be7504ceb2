"""What all tests share: the mock of the API, and the way to tell its errors from answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.mock import prism


@pytest.fixture(scope="session")
def mock_url() -> Iterator[str]:
    """The URL of a Prism mock of the description, started once for the run."""
    with prism(["mock"]) as url:
        yield url
