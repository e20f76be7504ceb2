"""A real Chromium for the tests of what happens in one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from scripts.browser import NoBrowser, chromium

# A name of an attacker, who has it lead to this machine.
ATTACKER = "--host-resolver-rules=MAP evil.example 127.0.0.1"


# Not longer than for a module: while it runs, no other test can have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for the tests of a module."""
    try:
        with chromium(ATTACKER) as started:
            yield started
    except NoBrowser as missing:
        pytest.skip(str(missing))


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab with a profile of its own; what is wrong on a page fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    wrong: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # The browser itself reports each response of 4xx, and each that does not come.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    yield page
    context.close()
    assert wrong == []
