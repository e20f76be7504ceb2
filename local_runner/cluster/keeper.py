"""The keeper: a tiny process that ends an agent's scripts when the agent cannot.

It reads from a pipe what runs, and how long the agent's lease goes on. When the pipe closes (the
agent was killed) or the lease is over (the agent is frozen), it ends all scripts. Of a dead agent
it then tells the front, so that nobody waits for the lease. Everything heavy is imported only then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

SLACK_SECONDS = 1.0
"""How long after the end of the lease the keeper acts; a live agent has done it by then."""

READ_BYTES = 64 * 1024


def clock() -> float:
    """Seconds of a clock that goes on while the machine sleeps, if the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Kept:
    """What the pipe has said so far. Pure: the time is passed in.

    Attributes:
        jobs: The scripts that run: the grace of each, and its process group or 0.
    """

    def __init__(self) -> None:
        """Begin with nothing that runs."""
        self.jobs: dict[str, tuple[float, int]] = {}
        self._until: float | None = None
        self._rest = b""

    def take(self, data: bytes, now: float) -> None:
        """Read a part of the pipe: lines of `run JOB GRACE PID`, `end JOB`, `lease SECONDS`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["run", job_id, grace, pid]:
                    self.jobs[job_id] = float(grace), int(pid)
                case ["end", job_id]:
                    self.jobs.pop(job_id, None)
                case ["lease", seconds]:
                    self._until = now + float(seconds) + SLACK_SECONDS

    def wait_seconds(self, now: float) -> float | None:
        """How long nothing needs to be done; None for ever."""
        return None if self._until is None or not self.jobs else max(0.0, self._until - now)


def line(*words: object) -> bytes:
    """A line as `Kept.take` reads it."""
    return (" ".join(str(word) for word in words) + "\n").encode()


def end_all(jobs: dict[str, tuple[float, int]]) -> None:
    """End all scripts: SIGTERM, grace, SIGKILL."""
    from local_runner.processes.orphans import end_processes_of

    end_processes_of(jobs, max(grace for grace, _ in jobs.values()))
    for _, group in jobs.values():
        # Whoever has thrown away its environment is in the group still.
        if group:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)


def main(agent: str, config: str) -> None:
    """Keep until the pipe is closed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pipe, kept = sys.stdin.fileno(), Kept()
    while True:
        if not select.select([pipe], [], [], kept.wait_seconds(clock()))[0]:
            end_all(kept.jobs)
            kept.jobs.clear()
        elif data := os.read(pipe, READ_BYTES):
            kept.take(data, clock())
        else:
            break
    if kept.jobs:
        end_all(kept.jobs)
        from local_runner.cluster.farewell import tell

        tell(agent, config)


if __name__ == "__main__":
    main(*sys.argv[1:])
