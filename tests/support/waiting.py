"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

from scripts.waiting import POLL_SECONDS, wait_until

__all__ = ["POLL_SECONDS", "wait_until"]
