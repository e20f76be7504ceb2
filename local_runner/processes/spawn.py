"""A process is started: quickly, and as the runner itself was started."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from local_runner.processes.given import Given

_IGNORED_BY_PYTHON = [signal.SIGPIPE, signal.SIGXFSZ]
_HOME = os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_PATH", 0)


@dataclass(frozen=True)
class Command:
    """What is to be started.

    Attributes:
        words: The program and its arguments; they reach it as they are.
        environment: All variables.
        folder: The folder it begins in; None for that of the runner.
    """

    words: list[str | bytes]
    environment: Mapping[bytes, bytes]
    folder: str | None


def spawn(command: Command, outputs: tuple[int, int], given: Given) -> int:
    """Start a process in a session and group of its own, its stdin empty.

    Args:
        command: What to start.
        outputs: The files that become its stdout and stderr.
        given: What it gets.

    Returns:
        Its process id.

    Raises:
        OSError: If there is no process.
    """
    if given.ignores_children:
        return _fork(command, outputs, given)
    stdout, stderr = outputs
    with _in_folder(command.folder), _open_files(given.open_files):
        return os.posix_spawn(
            command.words[0],
            command.words,
            command.environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setsid=True,
            setsigmask=given.signal_mask,
            setsigdef=_IGNORED_BY_PYTHON,
        )


def _fork(command: Command, outputs: tuple[int, int], given: Given) -> int:
    """The same for a script that is to ignore SIGCHLD, which `posix_spawn` cannot make it do."""

    def prepare() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, given.signal_mask)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(given.open_files, hard), hard))

    process = subprocess.Popen(
        command.words,
        stdin=subprocess.DEVNULL,
        stdout=outputs[0],
        stderr=outputs[1],
        env=command.environment,
        cwd=command.folder,
        start_new_session=True,
        preexec_fn=prepare,
    )
    process.returncode = 0  # it is waited for elsewhere
    return process.pid


@contextlib.contextmanager
def _in_folder(folder: str | None) -> Iterator[None]:
    """Be in a folder for a moment; no other thread of the runner uses a relative path."""
    if folder is None:
        yield
        return
    home = os.open(".", _HOME | os.O_CLOEXEC)
    try:
        os.chdir(folder)
        try:
            yield
        finally:
            os.fchdir(home)
    finally:
        os.close(home)


@contextlib.contextmanager
def _open_files(limit: int) -> Iterator[None]:
    """Have a lower limit of open files for a moment; see `storage.files.open_file`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= limit or limit < 0:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
