"""Kills the local runner again and again while callers load it, and sees what it keeps."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from local_runner.processes.carriers import JOB_VARIABLE
from scripts.runner_process import RunnerProcess, ended_or_none
from scripts.waiting import wait_until

CALLERS = 6
LONGEST_BURST = 20
"""Async runs of a caller before it waits for a sync one, which keeps the queue from growing."""

SOONEST_KILL, LATEST_KILL = 0.05, 1.5
"""Seconds of load before a kill."""

KILLED_AGAIN = 0.5
"""Of so many kills under load the restart is killed too, before it is complete."""

MAX_CONCURRENT = 8
DRAIN_SECONDS = 120.0
FOLDER_VARIABLE = "TORTURED_FOLDER"
"""Tells processes of the tortured runner from those of others on this machine."""

SCRIPTS = {
    # Both note what they do in a file; the second lives until it is killed, as does its child.
    "marks": (
        '#!/bin/sh\necho "$SCRIPT_RUNNER_JOB_ID start" >> "$1"\nsleep "$2"\n'
        'echo "$SCRIPT_RUNNER_JOB_ID end" >> "$1"\necho "$SCRIPT_RUNNER_JOB_ID ran"\n'
    ),
    "lingers": (
        "#!/bin/sh\nnohup sh -c 'trap \"\" TERM; sleep 300' >/dev/null 2>&1 &\n"
        'echo "$SCRIPT_RUNNER_JOB_ID start" >> "$1"\nsleep 300\n'
        'echo "$SCRIPT_RUNNER_JOB_ID end" >> "$1"\n'
    ),
}


@dataclasses.dataclass
class Figures:
    """What happened, in numbers, and what should not have happened."""

    kills: int = 0
    kills_of_a_start: int = 0
    """Those that came before it listened."""
    accepted: int = 0
    """Async runs that were accepted with 202."""
    returned: int = 0
    """Sync runs that returned."""
    succeeded: int = 0
    interrupted: int = 0
    """Jobs that failed; each must have run at a kill."""
    never_started: int = 0
    """Those of them whose script had not begun yet."""
    left_running: int = 0
    """Processes that a kill left running."""
    longest_start_seconds: float = 0.0
    problems: list[str] = dataclasses.field(default_factory=list)


class Torture:
    """A runner, those who call it, and what they were told."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.ran = folder / "ran"
        self.ran.touch()
        settings = {
            "maxConcurrent": MAX_CONCURRENT, "killGraceSeconds": 0.2, "maxJobs": 1_000_000
        }  # fmt: skip
        self.runner = RunnerProcess(
            folder, SCRIPTS, runner=settings, environment={FOLDER_VARIABLE: str(folder)}
        )
        self.lingering: list[str] = []
        self.accepted: set[str] = set()
        self.returned: dict[str, str] = {}
        self.ran_at_a_kill: set[str] = set()
        self.left: set[psutil.Process] = set()
        self.figures = Figures()

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """Have callers submit jobs until the runner is gone."""
        self.lingering.append(self.runner.submit("lingers", str(self.ran)))
        self.accepted.add(self.lingering[-1])
        with ThreadPoolExecutor(CALLERS) as pool:
            seeds = [self.random.random() for _ in range(CALLERS)]
            callers = [pool.submit(self._call_until_it_is_gone, seed) for seed in seeds]
            yield
            for caller in callers:
                caller.result()

    def _call_until_it_is_gone(self, seed: float) -> None:
        choice = random.Random(seed)
        with httpx.Client(base_url=self.runner.url, timeout=60, trust_env=False) as client:
            while True:
                modes = ["async"] * choice.randint(0, LONGEST_BURST) + ["sync"]
                for mode in modes:
                    args = [str(self.ran), f"{choice.random() / 20:.3f}"]
                    body = {"scriptId": "marks", "args": args, "mode": mode}
                    try:
                        response = client.post("/run", json=body)
                    except httpx.TransportError:
                        return
                    self._note(mode, response)

    def _note(self, mode: str, response: httpx.Response) -> None:
        job = response.json()
        if mode == "async" and response.status_code == 202:
            self.accepted.add(job["jobId"])
        elif mode == "sync" and response.status_code == 200:
            self.returned[job["jobId"]] = job["status"]
        else:
            self.figures.problems.append(f"a run got {response.status_code}: {job}")

    def kill_under_load(self) -> None:
        """Load the runner and kill it at a random moment."""
        with self.load():
            # Not a wait for something: the moment is what is random.
            threading.Event().wait(self.random.uniform(SOONEST_KILL, LATEST_KILL))
            self._kill()

    def kill_while_it_starts(self) -> None:
        """Start the runner and kill it at a random moment before it listens."""
        self.runner.launch()
        threading.Event().wait(self.random.uniform(0, self.figures.longest_start_seconds))
        self._kill()
        self.figures.kills_of_a_start += not self.runner.url

    def _kill(self) -> None:
        self.runner.stop(signal.SIGKILL)
        self.figures.kills += 1
        self.left |= _processes_of_jobs(self.runner.folder)
        with tempfile.TemporaryDirectory() as copy:
            # The history as the kill left it; the runner must mend its own.
            for file in self.runner.folder.glob("jobs.sqlite3*"):
                shutil.copy(file, copy)
            running = self._jobs_in_history(Path(copy), "running")
        self.ran_at_a_kill |= running
        if len(running) > MAX_CONCURRENT:
            self.figures.problems.append(f"ran at once: {running}")

    def start(self) -> None:
        """Start the runner; nothing that a kill left behind may run then."""
        begun = time.monotonic()
        self.runner.start()
        taken = time.monotonic() - begun
        self.figures.longest_start_seconds = max(self.figures.longest_start_seconds, taken)
        self.figures.left_running += len(self.left)
        orphans = self.left & _processes_of_jobs(self.runner.folder)
        if orphans:
            self.figures.problems.append(f"still running after the restart: {orphans}")
        self.left.clear()

    def _jobs_in_history(self, folder: Path, status: str) -> set[str]:
        """The jobs of a status in the history, which must be whole."""
        where = f"file:{folder / 'jobs.sqlite3'}?mode=rw"
        try:
            with contextlib.closing(sqlite3.connect(where, uri=True)) as history:
                (verdict,) = history.execute("PRAGMA integrity_check").fetchone()
                rows = history.execute("SELECT job_id FROM jobs WHERE status = ?", [status])
                found = {job_id for (job_id,) in rows}
        except sqlite3.Error as error:
            verdict, found = f"the history cannot be read: {error}", set()
        if verdict != "ok":
            self.figures.problems.append(f"integrity_check: {verdict}")
        return found

    def check_jobs(self) -> None:
        """Let the queue run empty and compare what ran with what callers were told."""
        for job_id in self.lingering:
            self.runner.cancel(job_id)
        marks = self._check_each_job()
        twice = [mark for mark, times in marks.items() if times > 1]
        if twice:
            self.figures.problems.append(f"ran more than once: {twice}")
        self.runner.stop()
        if left := _processes_of_jobs(self.runner.folder):
            self.figures.problems.append(f"still running after the stop: {left}")
        failed = self._jobs_in_history(self.runner.folder, "failed")
        if unknown := failed - self.ran_at_a_kill:
            self.figures.problems.append(f"failed without having run at a kill: {unknown}")
        self.figures.accepted = len(self.accepted)
        self.figures.returned = len(self.returned)
        self.figures.interrupted = len(failed)
        self.figures.never_started = sum(not marks[f"{job_id} start"] for job_id in failed)

    def _check_each_job(self) -> collections.Counter[str]:
        """Look at every job that a caller was told of; returns what the scripts have noted."""
        jobs = {}
        for job_id in sorted(self.accepted | self.returned.keys()):
            try:
                jobs[job_id] = wait_until(lambda: self._ended(job_id), DRAIN_SECONDS)  # noqa: B023
                self._check_log(jobs[job_id])
            except httpx.HTTPStatusError as error:
                self.figures.problems.append(f"{job_id} is lost: {error.response.text}")
        marks = collections.Counter(self.ran.read_text().splitlines())
        for job_id, job in jobs.items():
            self._check_job(job_id, job["status"], marks)
        self.figures.succeeded = sum(job["status"] == "succeeded" for job in jobs.values())
        return marks

    def _check_log(self, job: dict[str, Any]) -> None:
        """Compare the log of a job, and its preview, with what its script prints at its end."""
        log, printed = self.runner.log(job["jobId"]), f"{job['jobId']} ran\n"
        expected = [printed] if job["status"] == "succeeded" else ["", printed]
        if log not in expected or job["stdoutPreview"] != log or job["stdoutSize"] != len(log):
            self.figures.problems.append(f"the log is {log!r} of {job}")

    def _ended(self, job_id: str) -> dict[str, Any] | None:
        return ended_or_none(self.runner.job(job_id))

    def _check_job(self, job_id: str, status: str, marks: collections.Counter[str]) -> None:
        ran = (marks[f"{job_id} start"], marks[f"{job_id} end"])
        lingers = job_id in self.lingering
        if status not in (("failed", "canceled") if lingers else ("failed", "succeeded")):
            self.figures.problems.append(f"{job_id} is {status}")
        if status == "succeeded" and ran != (1, 1):
            self.figures.problems.append(f"{job_id} succeeded and ran {ran}")
        if self.returned.get(job_id, status) != status:
            self.figures.problems.append(f"{job_id} is {status}, returned otherwise")


def _processes_of_jobs(folder: Path) -> set[psutil.Process]:
    """The processes that the runner in a folder has started and that live."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if JOB_VARIABLE in environment and environment.get(FOLDER_VARIABLE) == str(folder):
                found.add(process)
    return found


def torture(folder: Path, kills: int, seed: int) -> Figures:
    """Kill a runner under load so many times, on the same folder.

    Args:
        folder: An empty folder.
        kills: How many times.
        seed: The same seed gives the same moments and loads, as far as threads allow.
    """
    work = Torture(folder, seed)
    with work.runner:
        while work.figures.kills < kills:
            work.kill_under_load()
            if work.figures.kills < kills and work.random.random() < KILLED_AGAIN:
                work.kill_while_it_starts()
            work.start()
        work.check_jobs()
    return work.figures
