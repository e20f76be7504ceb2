"""`connect`, by which all who ask share one `ScriptRunner` a URL."""

from __future__ import annotations

import threading
from collections import OrderedDict

from script_runner._base import DEFAULTS
from script_runner._client import ScriptRunner
from script_runner._explain import PYTHON_HINTS, Hints
from script_runner._fork import renew_after_fork
from script_runner._settings import DEFAULT_URL, Settings

MAX_CONNECTED = 32
"""The most runners that are kept; the one longest unused goes first."""


class _Connected:
    """The runners that `connect` has made, by URL and hints. Safe between threads."""

    def __init__(self) -> None:
        self._runners: OrderedDict[tuple[str, Hints], ScriptRunner] = OrderedDict()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Take a lock of one's own; the runners renew themselves."""
        self._lock = threading.Lock()

    def get(self, url: str, hints: Hints, settings: Settings) -> ScriptRunner:
        key = (url, hints)
        with self._lock:
            runner = self._runners.get(key)
            if runner is None:
                runner = self._runners[key] = ScriptRunner(url, hints=hints, settings=settings)
            self._runners.move_to_end(key)
            if len(self._runners) > MAX_CONNECTED:
                self._runners.popitem(last=False)
            return runner

    def forget(self) -> None:
        with self._lock:
            self._runners.clear()


_connected = _Connected()


def connect(
    url: str = DEFAULT_URL, *, hints: Hints = PYTHON_HINTS, settings: Settings = DEFAULTS
) -> ScriptRunner:
    """The script-runner at a URL; the same object each time, so that its connections stay warm.

    Nothing is sent yet. All callers share it, so it is not to be closed.

    Args:
        url: `http://host:port`, with a prefix (`/tools`) if a proxy has one, and with
            credentials (`http://any:TOKEN@host:port`) if the runner wants a token.
        hints: What messages of errors tell their reader to use.
        settings: Times and limits; they count the first time that a URL is connected.

    Raises:
        InvalidInput: See `ScriptRunner`.
    """
    if not isinstance(url, str):
        # It may be no key; the constructor says what is wrong with it.
        return ScriptRunner(url, hints=hints)
    return _connected.get(url, hints, settings)


def disconnect() -> None:
    """Forget the runners that `connect` has made; each closes when its last call has ended."""
    _connected.forget()
