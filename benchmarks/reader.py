"""Reads a log in a process that has not read it before, as `benchmarks.logs` and `lists` want it.

Run as `python -m benchmarks.reader WORK URL JOB [NUMBER]...`; prints seconds and bytes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import httpx

from benchmarks.measuring import call_block, most_resident, resident, seconds_of
from generated_client.api.jobs import get_job
from script_runner import connect

PAGE_BYTES = 1024 * 1024
"""The largest page of the wire."""


def page_of(client: httpx.Client, url: str, job_id: str, offset: int, limit: int) -> dict[str, int]:
    """One page of a log by a bare client, parsed."""
    parameters: dict[str, str | int] = {"stream": "stdout", "offset": offset, "limit": limit}
    page: dict[str, int] = client.get(f"{url}/jobs/{job_id}/logs", params=parameters).json()
    return page


def one_pass(url: str, job_id: str) -> Callable[[], None]:
    """All of a log by a bare client, in the largest pages; each is parsed and dropped."""
    client = httpx.Client()
    client.get(f"{url}/jobs/{job_id}").json()

    def read() -> None:
        offset, size = 0, 1
        while offset < size:
            page = page_of(client, url, job_id, offset, PAGE_BYTES)
            offset, size = page["nextOffset"], page["totalSize"]

    return read


def lines(url: str, job_id: str, first: int, end: int, at_once: int) -> Callable[[], None]:
    """Some lines of a log by `get-job-logs`, so many a call."""
    call_block("get-job-status", url, job_id=job_id)

    def read() -> None:
        for offset in range(first, end, at_once):
            outputs = call_block("get-job-logs", url, job_id=job_id, offset=offset, limit=at_once)
            assert len(outputs["logs"]) == min(at_once, end - offset), offset

    return read


def output(url: str, job_id: str) -> Callable[[], object]:
    """The whole output as `run-script-sync` reads it when the script has ended."""
    runner = connect(url)
    job = runner.call(get_job, job_id)
    return lambda: runner.output(job, "stdout")


def readers(url: str, job_id: str, count: int) -> Callable[[], object]:
    """The largest page of a log by so many connections, again and again, until stdin is closed."""

    def read() -> None:
        with httpx.Client(timeout=120) as client:
            while True:
                client.get(f"{url}/jobs/{job_id}/logs?limit={PAGE_BYTES}").raise_for_status()

    for _ in range(count):
        threading.Thread(target=read, daemon=True).start()
    return sys.stdin.read


WORKS: dict[str, Callable[..., Callable[[], object]]] = {
    "pass": one_pass,
    "lines": lines,
    "output": output,
    "readers": readers,
}
"""Each opens a connection, and returns what reads."""


def main(work: str, url: str, job_id: str, *numbers: str) -> None:
    """Open a connection, read, print what it took."""
    read = WORKS[work](url, job_id, *map(int, numbers))
    before = resident()
    seconds = seconds_of(read)
    print(seconds, max(0, most_resident() - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
