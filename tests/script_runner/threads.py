"""A process in which no more threads can be started."""

from __future__ import annotations

import threading
from threading import Event

import pytest


def refuse_threads(
    monkeypatch: pytest.MonkeyPatch, starter: str = "", meanwhile: Event | None = None
) -> Event:
    """Let the threads of a name start no others.

    Args:
        monkeypatch: Undoes it.
        starter: What the names begin with; those of all by default.
        meanwhile: What is to happen first, or half a second if it does not.

    Returns:
        Whether one has tried.
    """
    start, tried = threading.Thread.start, Event()

    def start_unless_refused(thread: threading.Thread) -> None:
        if threading.current_thread().name.startswith(starter):
            tried.set()
            if meanwhile is not None:
                meanwhile.wait(0.5)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_unless_refused)
    return tried
