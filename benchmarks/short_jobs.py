"""Short jobs one after another."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.figures import Benchmark, Result, Row, Settings, at_least, short
from benchmarks.runner import ANSWER_SECONDS, BenchmarkFailed, LocalRunner
from benchmarks.timing import interleaved_figures, seconds_of

SCRIPT = {"quick": "echo done"}
SLICE_JOBS = 40

_BODY = json.dumps({"scriptId": "quick", "args": [], "mode": "sync"})


class LeanClient:
    """A client of a local runner that takes as little of the time of a job as one in Python can."""

    def __init__(self, runner: LocalRunner) -> None:
        """Prepare a connection, which stays open."""
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", int(runner.url.rpartition(":")[2]), timeout=ANSWER_SECONDS
        )

    def run(self) -> None:
        """Run a sync job of `SCRIPT`.

        Raises:
            BenchmarkFailed: If it did not succeed.
        """
        self._connection.request("POST", "/run", _BODY, {"Content-Type": "application/json"})
        answer = self._connection.getresponse().read()
        if json.loads(answer).get("status") != "succeeded":
            raise BenchmarkFailed(f"script quick: {answer.decode()}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def rate_of(client: LeanClient, jobs: int = SLICE_JOBS) -> float:
    """Jobs per second of a local runner that gets them one after another."""
    return jobs / seconds_of(lambda: _repeat(jobs, client.run))


def _rate_by_httpx(runner: LocalRunner) -> float:
    return SLICE_JOBS / seconds_of(lambda: _repeat(SLICE_JOBS, lambda: runner.run("quick")))


def _bare_rate(script: Path) -> float:
    def run() -> None:
        subprocess.run([script], capture_output=True, check=True)

    return SLICE_JOBS / seconds_of(lambda: _repeat(SLICE_JOBS, run))


def _repeat(times: int, work: Callable[[], object]) -> None:
    for _ in range(times):
        work()


def _measure(settings: Settings) -> Result:
    with (
        LocalRunner(settings.folder / "runner", SCRIPT) as runner,
        contextlib.closing(LeanClient(runner)) as client,
    ):
        rates = interleaved_figures(
            {
                "runner": lambda: rate_of(client),
                "by httpx": lambda: _rate_by_httpx(runner),
                "bare": lambda: _bare_rate(runner.script("quick")),
            },
            rounds=50 if settings.full else 15,
            warm_up=1,
        )
    ours, by_httpx, bare = (median(rates[name]) for name in ("runner", "by httpx", "bare"))
    what = "local runner: short jobs one after another"
    compared = f"a loop of `subprocess.run` of the same script: {short(bare)} jobs/s"
    return Result(
        [
            Row(what, f"{short(ours)} jobs/s", compared, ours / bare, reach=at_least(0.5)),
            Row(
                f"{what}, sent by a warm `httpx.Client`",
                f"{short(by_httpx)} jobs/s",
                compared,
                by_httpx / bare,
            ),
        ]
    )


SHORT_JOBS = Benchmark(
    "short-jobs",
    "Short jobs",
    "`POST /run` of a sync job, a two-line `sh` script, over a connection of Python's own "
    "`http.client`, which leaves most of the time to the runner, and in the second row by httpx; "
    f"slices of {SLICE_JOBS} jobs in turns with slices of the loop; medians.",
    _measure,
)
