"""Provokes what a local runner says where the system can give no more."""

from __future__ import annotations

import asyncio
import errno
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from local_runner.storage.history import Store, StoreError
from local_runner.storage.job_logs import LogWriter
from tests.docs.messages import Message
from tests.docs.runner_helpers import logged
from tests.docs.runner_messages import HELLO, broken, configured, run, served
from tests.support.waiting import WAIT_SECONDS

SLEEPS = {"sleeps": "#!/bin/sh\nexec sleep 60\n"}


def shortage_messages(folder: Path) -> dict[str, Message]:
    """Every message, by a name that says how it was provoked.

    Args:
        folder: An empty folder.
    """
    messages = asyncio.run(asyncio.wait_for(_messages_of_runs(folder), WAIT_SECONDS))
    with (
        mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")),
        pytest.raises(StoreError) as caught,
    ):
        Store(folder / "no-thread.sqlite3")
    messages["a history without a thread"] = Message(str(caught.value), ("the history",), True)
    return messages


async def _messages_of_runs(folder: Path) -> dict[str, Message]:
    """What is answered to a run that cannot be started, and logged of one that has to wait."""
    start, failures = subprocess.Popen, [broken(errno.EAGAIN)]

    def start_later(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        if failures:
            raise failures.pop()
        return start(*arguments, **options)

    with logged() as lines, mock.patch("local_runner.jobs.scheduler.RETRY_SECONDS", 0):
        async with served(configured(folder, {**HELLO, **SLEEPS})) as client:
            with mock.patch.object(LogWriter, "__init__", side_effect=broken(errno.EMFILE)):
                refused = (await client.request(**run("hello"))).json()["error"]
            job_id = (await client.request(**run("sleeps", mode="async"))).json()["jobId"]
            waiting = asyncio.create_task(client.request(**run("hello")))
            with mock.patch("subprocess.Popen", start_later):
                await client.post(f"/jobs/{job_id}/cancel")
                waited = (await waiting).json()
    assert (refused["code"], waited["status"]) == ("UNAVAILABLE", "succeeded")
    (waits,) = [line for line in lines if "has to wait" in line]
    return {
        "a run without open files": Message(refused["message"], ("the runner",)),
        "a job that has to wait": Message(waits, (waited["jobId"],), ends_with_a_reason=True),
    }
