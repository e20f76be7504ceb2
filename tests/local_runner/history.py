"""The history of a runner that has stopped, and how many queued jobs it is tried with."""

from __future__ import annotations

import collections
import contextlib
import sqlite3
from pathlib import Path

QUEUED = 10_000
MOST_BYTES_OF_A_QUEUED_JOB = 5_000
"""Twice what docs/reliability.md says."""


def statuses_in_history(folder: Path) -> collections.Counter[str]:
    """How many jobs of each status are in the history of a runner that has stopped."""
    with contextlib.closing(sqlite3.connect(folder / "jobs.sqlite3")) as history:
        rows = history.execute("SELECT status FROM jobs")
        return collections.Counter(status for (status,) in rows)
