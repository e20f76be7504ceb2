"""One script on this machine: started without a shell, watched, ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import shutil
import signal
import threading
from collections.abc import Mapping

from local_runner.config import TOKEN_VARIABLE
from local_runner.jobs.record import Stream
from local_runner.processes.carriers import JOB_VARIABLE, Carriers
from local_runner.processes.ending import Ending
from local_runner.processes.given import Given
from local_runner.processes.launcher import CannotStart, Exit, Launch, LostExit
from local_runner.processes.output import Leftovers, Output
from local_runner.processes.shortage import OutOfResources, is_shortage
from local_runner.processes.spawn import Command, spawn
from local_runner.processes.start_faults import cannot_start
from local_runner.storage.disk import Disk

OPEN_PIPE_SECONDS = 1.0
"""How long a job whose script has ended waits for a process that still holds its output open."""

SIGNAL_EXIT_CODE_BASE = 128
"""The exit codes of POSIX shells, which the wire has; 128 + N for a script ended by signal N."""


class LocalLauncher:
    """Starts scripts on this machine.

    Attributes:
        given: What scripts get from whoever started the runner.
        disk: Threads for what may take long.
        carriers: What finds the processes of a job.
        leftovers: Output that is read on after the ends of jobs.
        pids: The scripts that run.
    """

    def __init__(self, given: Given | None = None, disk: Disk | None = None) -> None:
        """Prepare.

        Args:
            given: What scripts get; what this process has, by default.
            disk: The threads for what may take long; some of its own by default.
        """
        self.given = given or Given.now()
        self.disk = disk or Disk()
        self.carriers = Carriers()
        self.leftovers = Leftovers()
        self.pids: set[int] = set()

    def start(self, launch: Launch) -> ScriptProcess:
        """Start a script; see `Launcher.start`."""
        return ScriptProcess(launch, self)

    def close(self) -> None:
        """Read no more of what ended jobs have left behind."""
        self.leftovers.close()


class ScriptProcess:
    """A running script and all it started; see `launcher.Process`.

    Attributes:
        pid: The process id of the script, which is that of its session and its group as well.
        keeps_time: False; it is ended from outside.
    """

    keeps_time = False

    def __init__(self, launch: Launch, launcher: LocalLauncher) -> None:
        """Start a script in a session and process group of its own, its stdin empty.

        It finds its job id in its environment as `SCRIPT_RUNNER_JOB_ID`.

        Raises:
            CannotStart: If there is no process: file missing, not executable.
            OutOfResources: If there is none because the system can give no more just now.
        """
        self._loop = asyncio.get_running_loop()
        self._kill_grace_seconds = launch.kill_grace_seconds
        self._leftovers = launcher.leftovers
        self._running = launcher.pids
        self._exited = asyncio.Event()
        self._returncode: int | None = None
        self._pidfd: int | None = None
        self.pid, pipes = _start(launch, launcher.given)
        self._running.add(self.pid)
        self._output = Output(pipes, launch.logs)
        self._ending = Ending(launch.job_id, self.pid, launcher.carriers, self._exited)
        try:
            self._watch_for_exit()
        except Exception as error:
            # A process that cannot be watched must not run.
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._running.discard(self.pid)
            self._output.close()
            path = launch.script.path
            raise CannotStart(f"{path}: cannot be watched: {error}", None) from error

    async def wait(self) -> Exit:
        """Wait until the script has ended and its output is collected.

        A process that the script left behind holds the end up by `OPEN_PIPE_SECONDS` when it keeps
        the output open, or by the kill grace when the script was told to end.

        Raises:
            LostExit: If something else has waited for the script, so that its code is not known.
        """
        await self._exited.wait()
        await self._ending.done()
        await self._output.collect(OPEN_PIPE_SECONDS)
        if self._ending.has_begun:
            self._output.close()
        else:
            self._output.leave_to(self._leftovers)
        if self._returncode is None:
            raise LostExit
        code = self._returncode
        return Exit(code if code >= 0 else SIGNAL_EXIT_CODE_BASE - code)

    def terminate(self) -> bool:
        """Send SIGTERM to all the script started, and SIGKILL when the grace is over.

        Returns:
            Whether there was something to end; once the script itself has ended, what it left
            behind is not the job's any more.
        """
        if self._has_exited():
            return False
        if not self._ending.has_begun:
            self._ending.begin(self._kill_grace_seconds)
        return True

    def kill(self) -> None:
        """Send SIGKILL now, unless the script itself has ended without being told."""
        if self._ending.has_begun or not self._has_exited():
            self._ending.hurry()

    def abandon(self) -> None:
        """End it at once and take no more of its output, after a failure of the runner itself."""
        if not self._ending.has_begun:
            self._ending.begin(0)
        self._output.close()

    # -- its exit

    def _watch_for_exit(self) -> None:
        """Have `_exited` set when the script ends: by the system if it can, or by a thread."""
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
        else:
            try:
                self._loop.add_reader(self._pidfd, self._has_exited)
            except BaseException:
                os.close(self._pidfd)
                raise

    def _wait_in_thread(self) -> None:
        returncode: int | None = None
        with contextlib.suppress(ChildProcessError):  # `_has_exited` was first, or something else
            returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with contextlib.suppress(RuntimeError):  # the loop is closed when the runner has stopped
            self._loop.call_soon_threadsafe(self._note_exit, returncode)

    def _has_exited(self) -> bool:
        """Look whether the script has ended, which may be before anybody was told of it."""
        if not self._exited.is_set():
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                if self._pidfd is None:
                    return True  # the thread was first, and is about to say so
                self._note_exit(None)
            else:
                if pid:
                    self._note_exit(os.waitstatus_to_exitcode(status))
        return self._exited.is_set()

    def _note_exit(self, returncode: int | None) -> None:
        if self._exited.is_set():
            return
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._running.discard(self.pid)
        self._returncode = returncode
        self._exited.set()


def _start(launch: Launch, given: Given) -> tuple[int, dict[Stream, int]]:
    """Start a process; returns its id and the ends of its pipes to read."""
    opened: list[int] = []
    try:
        command = _command(launch)
        for _ in range(2):
            opened += os.pipe()
        stdout, to_stdout, stderr, to_stderr = opened
        os.set_blocking(stdout, False)
        os.set_blocking(stderr, False)
        pid = spawn(command, (to_stdout, to_stderr), given)
    except OSError as error:
        for file in opened:
            os.close(file)
        if is_shortage(error):
            raise OutOfResources(error) from error
        raise cannot_start(launch.script, error) from error
    os.close(to_stdout)
    os.close(to_stderr)
    return pid, {"stdout": stdout, "stderr": stderr}


def _command(launch: Launch) -> Command:
    script = launch.script
    environment = {
        **_inherited(),
        **{name.encode(): value.encode() for name, value in script.env.items()},
        JOB_VARIABLE.encode(): launch.job_id.encode(),
    }
    words = [*script.launcher, script.path]
    if script.launcher:
        path = os.fsdecode(environment.get(b"PATH", os.defpath.encode()))
        found = shutil.which(words[0], path=path)
        if found is None and os.sep not in words[0]:
            # The system would look in the working directory.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), words[0])
        words[0] = found or words[0]
    # As they came, in UTF-8, whatever the locale of the runner is.
    args = [arg.encode() for arg in launch.args]
    return Command([*words, *args], environment, script.working_dir)


@functools.cache
def _inherited() -> Mapping[bytes, bytes]:
    # As bytes and once: to decode and encode it all takes a tenth of the start of a script.
    token = TOKEN_VARIABLE.encode()
    inherited = {name: value for name, value in os.environb.items() if name != token}
    # Else what a script in Python prints comes when it ends.
    return {b"PYTHONUNBUFFERED": b"1", **inherited}
