"""One script: started without a shell, its output collected, ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import psutil

from local_runner import log
from local_runner.config import TOKEN_VARIABLE
from local_runner.processes.launcher import CannotStart, Exit, Launch
from local_runner.processes.shortage import OutOfResources, is_shortage

JOB_VARIABLE = "SCRIPT_RUNNER_JOB_ID"
"""Tells a script which job it is; by it a restarted runner finds what a killed one left behind."""

OPEN_PIPE_SECONDS = 1.0
"""How long a job whose script has ended waits for a process that still holds its output open."""

GROUP_POLL_SECONDS = 0.05
"""How often a process group that was told to end is looked at, once the script itself is gone."""

EXIT_CODE_NOT_FOUND = 127
EXIT_CODE_NOT_EXECUTABLE = 126
SIGNAL_EXIT_CODE_BASE = 128
"""The exit codes of POSIX shells, which the wire has; 128 + N for a script ended by signal N."""

READ_BYTES = 64 * 1024
"""The most that is read of a stream at once: the size of a pipe on Linux."""


class LocalLauncher:
    """Starts scripts on this machine."""

    def start(self, launch: Launch) -> ScriptProcess:
        """Start a script; see `Launcher.start`."""
        return ScriptProcess(launch)


class ScriptProcess:
    """A running script and its process group; see `launcher.Process`.

    Attributes:
        output_failure: Why output could not be written to the log, or None.
        keeps_time: False; it is ended from outside.
    """

    keeps_time = False

    def __init__(self, launch: Launch) -> None:
        """Start a script in a session and process group of its own, its stdin closed.

        It finds its job id in its environment as `SCRIPT_RUNNER_JOB_ID`.

        Raises:
            CannotStart: If there is no process: file missing, not executable.
            OutOfResources: If there is none because the system can give no more just now.
        """
        self._loop = asyncio.get_running_loop()
        self._kill_grace_seconds = launch.kill_grace_seconds
        self._kill_timer: asyncio.TimerHandle | None = None
        self._exited = asyncio.Event()
        self._pipes_closed = asyncio.Event()
        self.output_failure: OSError | None = None
        path = launch.script.path
        try:
            self._process = subprocess.Popen(
                [path, *launch.args],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(launch.job_id),
                start_new_session=True,
            )
        except OSError as error:
            if is_shortage(error):
                raise OutOfResources(error) from error
            raise _cannot_start(path, error) from error
        pipes = (self._process.stdout, self._process.stderr)
        self._open_pipes = {
            pipe: writer for pipe, writer in zip(pipes, launch.logs, strict=True) if pipe
        }
        try:
            for pipe in self._open_pipes:
                os.set_blocking(pipe.fileno(), False)
                self._loop.add_reader(pipe, self._read, pipe)
            self._watch_for_exit()
        except Exception as error:
            # A process that cannot be watched must not run.
            self.abandon()
            self._process.wait()
            raise CannotStart(f"{path}: cannot be watched: {error}", None) from error

    def _watch_for_exit(self) -> None:
        """Have `_exited` set when the script ends: by the system where it can, or by a thread."""
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
        else:
            try:
                self._loop.add_reader(self._pidfd, self._exit_seen)
            except BaseException:
                os.close(self._pidfd)
                raise

    def _wait_in_thread(self) -> None:
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed when the runner has stopped
            self._loop.call_soon_threadsafe(self._exited.set)

    def _exit_seen(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self._exited.set()

    def _read(self, pipe: IO[bytes]) -> None:
        """Write output to the log as it arrives; when that fails the script is ended."""
        try:
            data = os.read(pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._close(pipe)
        elif self.output_failure is None:
            try:
                self._open_pipes[pipe].write(data)
            except OSError as error:
                self.output_failure = error
                self.terminate()

    def _close(self, pipe: IO[bytes]) -> None:
        self._loop.remove_reader(pipe)
        pipe.close()
        del self._open_pipes[pipe]
        if not self._open_pipes:
            self._pipes_closed.set()

    def _close_pipes(self) -> None:
        for pipe in list(self._open_pipes):
            self._close(pipe)

    async def wait(self) -> Exit:
        """Wait until the script has ended and its output is collected.

        A process that the script left behind holds the end up by `OPEN_PIPE_SECONDS` when it keeps
        the output open, or by the kill grace when the script was told to end.
        """
        await self._exited.wait()
        if self._kill_timer is not None:
            await self._group_ended()
            self._kill_timer.cancel()
        try:
            async with asyncio.timeout(OPEN_PIPE_SECONDS):
                await self._pipes_closed.wait()
        except TimeoutError:
            self._close_pipes()
        returncode = self._process.returncode
        return Exit(returncode if returncode >= 0 else SIGNAL_EXIT_CODE_BASE - returncode)

    @property
    def pid(self) -> int:
        """The process id of the script, which is that of its session and its group as well."""
        return self._process.pid

    def terminate(self) -> bool:
        """Send SIGTERM to the process group, and SIGKILL when the grace is over.

        Returns:
            Whether there was something to end; once the script itself has ended, what it left
            behind is not the job's any more.
        """
        if self._exited.is_set():
            return False
        if self._kill_timer is None:
            self._signal(signal.SIGTERM)
            self._kill_timer = self._loop.call_later(
                self._kill_grace_seconds, self._signal, signal.SIGKILL
            )
        return True

    def kill(self) -> None:
        """Send SIGKILL to the process group now, unless the script itself has ended."""
        if not self._exited.is_set():
            self._signal(signal.SIGKILL)

    def abandon(self) -> None:
        """Kill the group and take no more of its output, after a failure of the runner itself."""
        self._signal(signal.SIGKILL)
        self._close_pipes()

    async def _group_ended(self) -> None:
        assert self._kill_timer is not None
        give_up = self._kill_timer.when() + OPEN_PIPE_SECONDS
        while self._signal(0) and _has_live_process(self._process.pid):
            if self._loop.time() >= give_up:
                return
            await asyncio.sleep(GROUP_POLL_SECONDS)

    def _signal(self, number: int) -> bool:
        """Signal the group; False when it has no process any more."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Nothing but processes of another user is left (macOS also says so of zombies).
            if _has_live_process(self._process.pid):
                whose = f"process group {self._process.pid} belongs to another user"
                log.event("warning", message=f"{whose} and cannot be ended from here")
            return False
        return True


def _has_live_process(group: int) -> bool:
    """Whether a process group has more than zombies, which nothing can end."""
    try:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                    return True
    except OSError:
        # No file is free to look for it with, so that it cannot be told.
        return True
    return False


def _environment(job_id: str) -> Mapping[bytes, bytes]:
    return {**_inherited(), JOB_VARIABLE.encode(): job_id.encode()}


@functools.cache
def _inherited() -> Mapping[bytes, bytes]:
    # As bytes and once: to decode and encode it all takes a tenth of the start of a script.
    token = TOKEN_VARIABLE.encode()
    return {name: value for name, value in os.environb.items() if name != token}


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
