"""What is shared in a process must be its own in each process that is forked off."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Holds connections, caches or locks."""

    def renew(self) -> None:
        """Begin anew: the connections are the parent's, and a lock may be held by nobody."""


_objects: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(renewable: Renewable) -> None:
    """Renew an object, as long as it lives, in each process that is forked off."""
    _objects.add(renewable)


def _renew_all() -> None:
    for renewable in list(_objects):
        renewable.renew()


importing = threading.RLock()
"""Held while a call imports what most processes never need. No process is forked off meanwhile: it
would wait for ever for the thread of its parent that began the import."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=importing.acquire,
        after_in_parent=importing.release,
        after_in_child=importing.release,
    )
    os.register_at_fork(after_in_child=_renew_all)
