"""The agent's end of the pipe to its keeper."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local_runner import log
from local_runner.cluster import keeper
from local_runner.cluster.messages import AgentId


class Keeping:
    """A keeper that is told what runs, and started again if it is killed."""

    def __init__(self, agent: AgentId, config: Path) -> None:
        """Start the keeper.

        Args:
            agent: Whose it is.
            config: The agent's configuration.
        """
        self._command = [sys.executable, "-m", keeper.__name__, str(agent), str(config.absolute())]
        self._groups: dict[str, tuple[float, int]] = {}
        self._until = 0.0
        self._process = self._start()

    def will_run(self, job_id: str, grace: float, seconds: float) -> None:
        """Tell it of a script before that is started.

        Args:
            job_id: The job, by which its processes can be found.
            grace: From SIGTERM to SIGKILL.
            seconds: See `alive`.
        """
        self._groups[job_id] = grace, 0
        self._say(self._lease(seconds) + keeper.line("run", job_id, grace, 0))

    def runs(self, job_id: str, pid: int) -> None:
        """Tell it the process group of a script."""
        grace, _ = self._groups[job_id]
        self._groups[job_id] = grace, pid
        self._say(keeper.line("run", job_id, grace, pid))

    def has_ended(self, job_id: str) -> None:
        """Tell it that there is nothing left to end."""
        if self._groups.pop(job_id, None) is not None:
            self._say(keeper.line("end", job_id))

    def alive(self, seconds: float) -> None:
        """Tell it that the agent is there, and when to end all scripts unless it is told again."""
        self._say(self._lease(seconds))

    def last_chance(self) -> float:
        """Have scripts that were told to end be killed without another grace; returns the longest.

        The agent ends them itself; the keeper does it if the agent is frozen meanwhile.
        """
        longest = max((grace for grace, _ in self._groups.values()), default=0.0)
        for job_id, (_, pid) in self._groups.items():
            self._say(keeper.line("run", job_id, 0, pid))
        return longest

    def close(self) -> None:
        """Let it go; it does nothing if no script runs."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _lease(self, seconds: float) -> bytes:
        self._until = keeper.clock() + seconds
        return keeper.line("lease", round(seconds, 2))

    def _say(self, lines: bytes) -> None:
        if self._process.poll() is None and self._write(lines):
            return
        log.event("warning", message="the keeper was killed or hangs: another one is started")
        self._process.kill()
        self._process.wait()
        self._process = self._start()
        self._write(keeper.line("lease", round(self._until - keeper.clock(), 2)))
        for job_id, (grace, pid) in self._groups.items():
            self._write(keeper.line("run", job_id, grace, pid))

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: what ends the agent from a terminal must not end its keeper.
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, bufsize=0, start_new_session=True
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _write(self, data: bytes) -> bool:
        assert self._process.stdin is not None
        try:
            return self._process.stdin.write(data) == len(data)
        except OSError:
            return False
