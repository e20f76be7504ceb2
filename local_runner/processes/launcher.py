"""The seam between a job and the process that runs its script, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from local_runner.config import ScriptConfig
from local_runner.storage.job_logs import LogWriter


class CannotStart(Exception):
    """A script that could not be started; the message becomes the end of its stderr.

    Attributes:
        code: The exit code to record, None where there is none.
    """

    def __init__(self, message: str, code: int | None) -> None:
        """Keep the message and the code."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Launch:
    """What is to be started.

    Attributes:
        job_id: The job it is for.
        script: The script, as the configuration was when the job was accepted.
        args: Its arguments; they reach the script as they are.
        logs: Where its stdout and stderr go.
        kill_grace_seconds: From SIGTERM to SIGKILL when it is told to end.
    """

    job_id: str
    script: ScriptConfig
    args: list[str]
    logs: tuple[LogWriter, LogWriter]
    kill_grace_seconds: float


class Process(Protocol):
    """A script that was started, and all that it starts itself. It belongs to one event loop.

    Attributes:
        output_failure: Why output could not be written to the log, or None.
    """

    output_failure: OSError | None

    async def wait(self) -> int:
        """Wait until the script has ended and its output is in the logs.

        Returns:
            The exit code; 128 + N when signal N ended the script.

        Raises:
            CannotStart: If the machine that it was given to could not start it.
        """

    def terminate(self) -> bool:
        """Tell it to end, and end it by force when the grace is over.

        Returns:
            Whether there was something to end.
        """

    def kill(self) -> None:
        """End it by force now, unless the script itself has ended."""

    def abandon(self) -> None:
        """End it by force and take no more of its output, after a failure of the runner itself."""


class Launcher(Protocol):
    """What starts scripts."""

    def start(self, launch: Launch) -> Process:
        """Start a script.

        Raises:
            CannotStart: If it cannot be started: file missing, not executable.
            OutOfResources: If the system can give no more just now; nothing is left of the attempt.
        """
