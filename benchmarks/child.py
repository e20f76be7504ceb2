"""Reads a log in a process that has not read it before; `measure` starts that process.

Run as `python -m benchmarks.child WORK URL JOB [FIRST_LINE LINES]`; prints a `Reading` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from benchmarks import memory
from benchmarks.blocks import ROOT, call_block
from benchmarks.timing import seconds_of
from generated_client.api.jobs import get_job
from script_runner import connect, whole_output

PAGE_BYTES = 1024 * 1024
"""The largest page of the wire."""


@dataclass(frozen=True)
class Reading:
    """What it took.

    Attributes:
        seconds: Of the reading alone, with a connection that was open before.
        bytes_above_start: The most memory it needed, above what was resident before.
    """

    seconds: float
    bytes_above_start: int


def measure(work: str, url: str, job_id: str, *numbers: int) -> Reading:
    """Read the stdout log of an ended job in a new process.

    Args:
        work: `pass`, `page`, `walk` or `output`; see the functions below.
        url: The URL of the runner.
        job_id: The job.
        numbers: What the work takes beside them.
    """
    command = [sys.executable, "-m", "benchmarks.child", work, url, job_id, *map(str, numbers)]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return Reading(**json.loads(printed))


def bare_pass(client: httpx.Client, url: str, job_id: str) -> None:
    """One pass over a log by a bare client, in the largest pages; each is parsed and dropped."""
    offset, size = 0, 1
    while offset < size:
        page = bare_page(client, url, job_id, offset, PAGE_BYTES)
        offset, size = int(str(page["nextOffset"])), int(str(page["totalSize"]))


def bare_page(
    client: httpx.Client, url: str, job_id: str, offset: int, limit: int
) -> dict[str, object]:
    """One page of a log by a bare client."""
    page: dict[str, object] = client.get(
        f"{url}/jobs/{job_id}/logs", params={"stream": "stdout", "offset": offset, "limit": limit}
    ).json()
    return page


def _pass(url: str, job_id: str) -> tuple[Callable[[], object], Callable[[], object]]:
    client = httpx.Client()
    return (
        lambda: client.get(f"{url}/jobs/{job_id}").json(),
        lambda: bare_pass(client, url, job_id),
    )


def _page(
    url: str, job_id: str, first: int, lines: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    def read() -> None:
        outputs = call_block("get-job-logs", url, job_id=job_id, offset=first, limit=lines)
        assert len(outputs["logs"]) == lines, f"{len(outputs['logs'])} lines instead of {lines}"

    return lambda: call_block("get-job-status", url, job_id=job_id), read


def _walk(
    url: str, job_id: str, total: int, lines: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    def read() -> None:
        seen, more = 0, True
        while more:
            outputs = call_block("get-job-logs", url, job_id=job_id, offset=seen, limit=lines)
            seen += len(outputs["logs"])
            more = bool(outputs["logs"])
        assert seen == total, f"{seen} lines instead of {total}"

    return lambda: call_block("get-job-status", url, job_id=job_id), read


def _output(url: str, job_id: str) -> tuple[Callable[[], object], Callable[[], object]]:
    runner = connect(url)
    job = runner.call(get_job, job_id)
    return lambda: runner.call(get_job, job_id), lambda: whole_output(runner, job, "stdout")


_WORKS: dict[str, Callable[..., tuple[Callable[[], object], Callable[[], object]]]] = {
    "pass": _pass,
    "page": _page,
    "walk": _walk,
    "output": _output,
}
"""What opens a connection, and what reads, by the name of the work."""


def main(work: str, url: str, job_id: str, *numbers: str) -> None:
    """Open a connection, read, print what it took."""
    call_before, read = _WORKS[work](url, job_id, *map(int, numbers))
    call_before()
    before = memory.now()
    seconds = seconds_of(read)
    above_start = max(0, memory.own_peak() - before)
    print(json.dumps(dataclasses.asdict(Reading(seconds, above_start))))


if __name__ == "__main__":
    main(*sys.argv[1:])
