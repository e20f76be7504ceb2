"""Reads a log in a process that has not read it before, as `benchmarks.logs` and `lists` want it.

Run as `python -m benchmarks.child WORK URL JOB [NUMBER]...`; prints seconds and bytes.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable

import httpx

from benchmarks.measuring import call_block, most_resident, resident, seconds_of
from generated_client.api.jobs import get_job
from script_runner import connect

PAGE_BYTES = 1024 * 1024
"""The largest page of the wire."""

Work = tuple[Callable[[], object], Callable[[], object]]
"""What opens a connection, and what reads."""


def page_of(client: httpx.Client, url: str, job_id: str, offset: int, limit: int) -> dict[str, int]:
    """One page of a log by a bare client, parsed."""
    parameters: dict[str, str | int] = {"stream": "stdout", "offset": offset, "limit": limit}
    page: dict[str, int] = client.get(f"{url}/jobs/{job_id}/logs", params=parameters).json()
    return page


def one_pass(url: str, job_id: str) -> Work:
    """All of a log by a bare client, in the largest pages; each is parsed and dropped."""
    client = httpx.Client()

    def read() -> None:
        offset, size = 0, 1
        while offset < size:
            page = page_of(client, url, job_id, offset, PAGE_BYTES)
            offset, size = page["nextOffset"], page["totalSize"]

    return lambda: client.get(f"{url}/jobs/{job_id}").json(), read


def page(url: str, job_id: str, first: int, lines: int) -> Work:
    """One page of lines by `get-job-logs`."""

    def read() -> None:
        outputs = call_block("get-job-logs", url, job_id=job_id, offset=first, limit=lines)
        assert len(outputs["logs"]) == lines, f"{len(outputs['logs'])} lines instead of {lines}"

    return lambda: call_block("get-job-status", url, job_id=job_id), read


def walk(url: str, job_id: str, total: int, lines: int) -> Work:
    """All lines by `get-job-logs`, so many a call."""

    def read() -> None:
        for offset in range(0, total, lines):
            logs = call_block("get-job-logs", url, job_id=job_id, offset=offset, limit=lines)
            assert len(logs["logs"]) == min(lines, total - offset), offset

    return lambda: call_block("get-job-status", url, job_id=job_id), read


def output(url: str, job_id: str) -> Work:
    """The whole output as `run-script-sync` reads it when the script has ended."""
    runner = connect(url)
    job = runner.call(get_job, job_id)
    return lambda: runner.call(get_job, job_id), lambda: runner.output(job, "stdout")


WORKS: dict[str, Callable[..., Work]] = {
    "pass": one_pass,
    "page": page,
    "walk": walk,
    "output": output,
}


def readers(url: str, job_id: str, count: int) -> None:
    """Read the largest pages of a log by so many connections, until stdin is closed."""

    def read() -> None:
        with httpx.Client(timeout=120) as client:
            for _ in itertools.count():
                client.get(f"{url}/jobs/{job_id}/logs?limit={PAGE_BYTES}").raise_for_status()

    for _ in range(count):
        threading.Thread(target=read, daemon=True).start()
    sys.stdin.read()


def main(work: str, url: str, job_id: str, *numbers: str) -> None:
    """Open a connection, read, print what it took."""
    if work == "readers":
        readers(url, job_id, *map(int, numbers))
        return
    open_connection, read = WORKS[work](url, job_id, *map(int, numbers))
    open_connection()
    before = resident()
    seconds = seconds_of(read)
    print(seconds, max(0, most_resident() - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
