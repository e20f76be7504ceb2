"""`GET /jobs` while many callers read logs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from benchmarks.figures import Row, Settings, duration, subject
from benchmarks.measuring import LeanClient, runner_in, seconds_of
from scripts.blocks import ROOT
from scripts.runner_process import RunnerProcess

READERS = 32
LOG_BYTES = 4 * 2**20
SCRIPTS = {
    "text": f"yes 'one line of a log' | head -c {LOG_BYTES}",
    "binary": f"head -c {LOG_BYTES} /dev/urandom",
}
MOST_MS = {"text": 20, "binary": 100}
WARM_UP_SECONDS = 1.0


@subject(
    "Lists under load",
    f"`GET /jobs` of 50 over a bare socket, while {READERS} threads "
    "of another process read pages of 1 MiB without a pause, on the same cores; medians.",
)
def lists_under_load(settings: Settings) -> Iterator[Row]:
    seconds = 10 if settings.full else 2
    with (
        runner_in(settings.folder / "runner", SCRIPTS, maxLogBytesPerStream=2**30) as runner,
        LeanClient(runner.url) as client,
    ):
        idle = median(seconds_of(lambda: client.get("/jobs?limit=50")) for _ in range(100))
        for kind in SCRIPTS:
            job_id = str(runner.run(kind)["jobId"])
            with _readers(runner, job_id):
                taken = _sampled(client, seconds)
            what = f"`GET /jobs` of 50 while {READERS} callers read a {kind} log by 1 MiB"
            measured = f"median {duration(median(taken))}, slowest {duration(max(taken))}"
            compared = f"while nobody reads: {duration(idle)}"
            yield Row(what, measured, compared, 1000 * median(taken), "ms", most=MOST_MS[kind])


@contextlib.contextmanager
def _readers(runner: RunnerProcess, job_id: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.reader", "readers", runner.url, job_id]
    with subprocess.Popen(
        [*command, str(READERS)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        time.sleep(WARM_UP_SECONDS)
        yield
        process.communicate()


def _sampled(client: LeanClient, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    taken = []
    while time.monotonic() < end:
        taken.append(seconds_of(lambda: client.get("/jobs?limit=50")))
    return taken
