"""One script: started without a shell, its output collected, ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import psutil

from local_runner.config import TOKEN_VARIABLE
from local_runner.logs import LogWriter

JOB_VARIABLE = "SCRIPT_RUNNER_JOB_ID"
"""Tells a script which job it is; by it a restarted runner finds what a killed one left behind."""

OPEN_PIPE_SECONDS = 1.0
"""How long a job whose script has ended waits for a process that still holds its output open."""

GROUP_POLL_SECONDS = 0.02
"""How often a process group that was told to end is looked at, once the script itself is gone."""

EXIT_CODE_NOT_FOUND = 127
EXIT_CODE_NOT_EXECUTABLE = 126
SIGNAL_EXIT_CODE_BASE = 128
"""The exit codes of POSIX shells, which the wire has; 128 + N for a script ended by signal N."""

STDOUT, STDERR = 1, 2


class CannotStart(Exception):
    """A script that could not be started.

    Attributes:
        code: The exit code to record, None where there is none.
    """

    def __init__(self, message: str, code: int | None) -> None:
        """Keep the message and the code."""
        super().__init__(message)
        self.code = code


class ScriptProcess(asyncio.SubprocessProtocol):
    """A running script and its process group.

    Attributes:
        output_failure: Why output could not be written to the log, or None.
    """

    def __init__(self, stdout: LogWriter, stderr: LogWriter, kill_grace_seconds: float) -> None:
        """Prepare; `start` makes the process."""
        self._logs = {STDOUT: stdout, STDERR: stderr}
        self._kill_grace_seconds = kill_grace_seconds
        self._kill_timer: asyncio.TimerHandle | None = None
        self._exited = asyncio.Event()
        self._pipes_closed = asyncio.Event()
        self._open_pipes = {STDOUT, STDERR}
        self.output_failure: OSError | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        job_id: str,
        logs: tuple[LogWriter, LogWriter],
        kill_grace_seconds: float,
    ) -> ScriptProcess:
        """Start a script in a session and process group of its own, its stdin closed.

        Args:
            command: The file and its arguments; they reach the script as they are.
            job_id: What the script finds in its environment as `SCRIPT_RUNNER_JOB_ID`.
            logs: Where its stdout and stderr go.
            kill_grace_seconds: From SIGTERM to SIGKILL.

        Raises:
            CannotStart: If there is no process: file missing, not executable, out of resources.
        """
        try:
            _, process = await asyncio.get_running_loop().subprocess_exec(
                lambda: cls(*logs, kill_grace_seconds),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                env=_environment(job_id),
                start_new_session=True,
            )
        except OSError as error:
            raise _cannot_start(command[0], error) from error
        return process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, which is there before any other call."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    @property
    def pid(self) -> int:
        """The process id of the script, which is also that of its process group."""
        return self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Write output to the log as it arrives; when that fails the script is ended."""
        if self.output_failure is None:
            try:
                self._logs[fd].write(data)
            except OSError as error:
                self.output_failure = error
                self.terminate()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002
        """Note that nobody can write to this stream any more."""
        self._open_pipes.discard(fd)
        if not self._open_pipes:
            self._pipes_closed.set()

    def process_exited(self) -> None:
        """Note that the script has ended; what it started may go on."""
        self._exited.set()

    async def wait(self) -> int:
        """Wait until the script has ended and its output is collected.

        A process that the script left behind holds the end up by `OPEN_PIPE_SECONDS` when it keeps
        the output open, or by the kill grace when the script was told to end.

        Returns:
            The exit code; 128 + N when signal N ended the script.
        """
        await self._exited.wait()
        if self._kill_timer is not None:
            await self._group_ended()
            self._kill_timer.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_PIPE_SECONDS):
                await self._pipes_closed.wait()
        returncode = cast(int, self._transport.get_returncode())
        self._transport.close()
        return returncode if returncode >= 0 else SIGNAL_EXIT_CODE_BASE - returncode

    def terminate(self) -> None:
        """Send SIGTERM to the process group, and SIGKILL when the grace is over."""
        if self._kill_timer is None:
            self._signal(signal.SIGTERM)
            self._kill_timer = asyncio.get_running_loop().call_later(
                self._kill_grace_seconds, self._signal, signal.SIGKILL
            )

    async def _group_ended(self) -> None:
        assert self._kill_timer is not None
        loop = asyncio.get_running_loop()
        while self._signal(0) and loop.time() < self._kill_timer.when() + OPEN_PIPE_SECONDS:
            await asyncio.sleep(GROUP_POLL_SECONDS)

    def _signal(self, number: int) -> bool:
        """Signal the group; False when it has no process any more."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Nothing but processes of another user is left (macOS also says so of zombies).
            return False
        return True


def _environment(job_id: str) -> Mapping[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return {**inherited, JOB_VARIABLE: job_id}


def _cannot_start(path: str, error: OSError) -> CannotStart:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            missing = "no such file" if not Path(path).exists() else "its interpreter is missing"
            return CannotStart(f"{path}: {missing}", EXIT_CODE_NOT_FOUND)
        case PermissionError():
            return CannotStart(
                f"{path}: may not be executed, run chmod +x on it", EXIT_CODE_NOT_EXECUTABLE
            )
        case OSError(errno=errno.ENOEXEC):
            return CannotStart(
                f"{path}: not a program, a script needs a first line such as #!/bin/sh",
                EXIT_CODE_NOT_EXECUTABLE,
            )
    return CannotStart(f"{path}: cannot be started: {error.strerror}", None)


def use_cheap_child_watcher() -> None:
    """Wait for children without a thread each, as Python 3.12 does by itself where it can."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.get_event_loop_policy().set_child_watcher(watcher)


def end_processes_of(job_ids: Iterable[str], kill_grace_seconds: float) -> int:
    """End what a runner that was killed left running.

    Args:
        job_ids: The jobs that ran then.
        kill_grace_seconds: From SIGTERM to SIGKILL.

    Returns:
        How many processes were ended.
    """
    wanted = set(job_ids)
    left = [process for process in psutil.process_iter() if _job_of(process) in wanted]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=kill_grace_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=kill_grace_seconds)
    return len(left)


def _job_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(JOB_VARIABLE)
    except (psutil.Error, OSError):
        return None
