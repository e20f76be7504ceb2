"""Chromium for the tests and the screenshot: the one of the system, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
]


class NoBrowser(Exception):
    """There is no Chromium here; the message says how to get one."""


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Start Chromium, and stop it on leaving the block.

    Args:
        flags: More of its command line.

    Raises:
        NoBrowser: If there is none.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NoBrowser("there is no chromium here (Debian: apt-get install chromium)")
    # Its sandbox does not work as root; the pages are ours.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=[*FLAGS, *sandbox, *flags])
