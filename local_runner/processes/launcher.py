"""The seam between a job and the process that runs its script, here or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from local_runner.config import ScriptConfig
from local_runner.jobs.record import Status
from local_runner.storage.job_logs import JobLogs

if TYPE_CHECKING:
    from local_runner.jobs.dispatcher import Dispatcher
    from local_runner.jobs.listing import AgentView
    from local_runner.jobs.reader import Reader


class CannotStart(Exception):
    """A script that could not be started; the message becomes the end of its stderr.

    Attributes:
        code: The exit code to record, None if there is none.
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
        logs: Where its stdout and stderr go. When they are full it must not take more output from
            the script, and goes on when they call its `on_room`.
        kill_grace_seconds: From SIGTERM to SIGKILL when it is told to end.
    """

    job_id: str
    script: ScriptConfig
    args: list[str]
    logs: JobLogs
    kill_grace_seconds: float


@dataclass(frozen=True)
class Exit:
    """How a script ended.

    Attributes:
        code: The exit code; 128 + N when signal N ended the script.
        status: What another machine that ran it has made of that; None on this one, where it is
            for the job to say.
        failure: Why it failed through no fault of its own, as that machine says.
        duration_ms: How long it ran, as that machine says.
    """

    code: int
    status: Status | None = None
    failure: str | None = None
    duration_ms: int | None = None


class LostExit(Exception):
    """How a script ended cannot be told."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("its exit code was lost, something else has waited for it")


class Detached(Exception):
    """A script on another machine is left alone and goes on; the next start takes it up again."""


class Process(Protocol):
    """A script that was started, and all that it starts itself. It belongs to one event loop.

    Attributes:
        keeps_time: Whether it ends itself when its time limit is over.
    """

    keeps_time: bool

    async def wait(self) -> Exit:
        """Wait until the script has ended and its output is in the logs.

        Raises:
            Detached: If it is left alone.
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


class Unreachable(Exception):
    """The other machines can never be reached so; the message says why."""


class Workers(Launcher, Protocol):
    """Other machines that run the scripts: a job starts when one of them asks for it.

    Attributes:
        scripts_go_on: Whether they go on when the runner stops, for the next start to take up.
    """

    scripts_go_on: bool

    async def open(self, dispatcher: Dispatcher, reader: Reader) -> None:
        """Let them ask for jobs; they may be away for now.

        Args:
            dispatcher: Has the jobs.
            reader: Has the scripts.

        Raises:
            Unreachable: If they can never be reached so.
        """

    async def close(self) -> None:
        """Let nobody ask any more."""

    def look(self) -> None:
        """Note that what waits, or what may start, has changed."""

    def resume(self, launch: Launch, worker: str) -> Process:
        """Take up a script that was started before the runner was."""

    def detach(self) -> None:
        """Leave all scripts alone."""

    def agents(self) -> list[AgentView]:
        """The machines."""

    def able(self, script: ScriptConfig) -> int:
        """How many machines can run a script now."""
