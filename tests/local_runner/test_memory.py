"""What a job held is free when it has ended: nothing of it is left to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_runner.jobs.job import LiveJob
from local_runner.processes.local import ScriptProcess
from local_runner.processes.output import Output
from local_runner.storage.job_logs import JobLogs
from tests.local_runner.served import ENOUGH, serving

SCRIPTS = {
    "prints": "#!/bin/sh\necho hello\n",
    "leaves": "#!/bin/sh\nsleep 0.1 &\necho hello\n",
    "fails": "#!/no/such/interpreter\n",
}
HELD = (LiveJob, JobLogs, ScriptProcess, Output)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) in HELD]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("script_id", SCRIPTS)
async def test_nothing_of_a_job_is_left_to_the_garbage_collector(
    tmp_path: Path, script_id: str
) -> None:
    body = f'{{"scriptId": "{script_id}", "mode": "sync"}}'
    head = "POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    before = len(held())
    async with serving(tmp_path, SCRIPTS) as served:
        caller = await served.call(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        status, _ = await caller.response()
        assert status == 200
        async with asyncio.timeout(ENOUGH):
            while len(held()) > before:
                await asyncio.sleep(0.05)
