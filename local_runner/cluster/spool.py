"""The folder of an agent: output on its way, and which scripts run, for whoever comes after it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from local_runner.config_file import ConfigError
from local_runner.jobs.record import STREAMS, log_name
from local_runner.processes.orphans import end_processes_of
from local_runner.storage.log_file import FILE_MODE, make_folder

MAX_ID_BYTES = 200
_RUNNING = ".running"


class Spool:
    """The folder; all but `__init__` may be called in threads."""

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            ConfigError: If it cannot be used, or another agent uses it.
        """
        self._folder = folder
        try:
            make_folder(folder)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder}: another agent uses this spoolDir: give each one its own"
            ) from error
        except OSError as error:
            raise ConfigError(f"{folder}: the spoolDir cannot be used: {error.strerror}") from error

    def take_over(self, agent: str) -> str:
        """Note which agent has the folder from now on; returns which one had it before, or ""."""
        before = os.pread(self._lock, MAX_ID_BYTES, 0).decode("utf-8", "replace")
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, agent.encode(), 0)
        return before

    def clear(self, grace: float) -> int:
        """End what an agent left behind that was killed with its keeper; delete all output.

        Returns:
            How many processes were ended.
        """
        job_ids = [path.name.removesuffix(_RUNNING) for path in self._folder.glob(f"*{_RUNNING}")]
        ended = end_processes_of(job_ids, grace) if job_ids else 0
        for path in self._folder.glob("job_*"):
            path.unlink(missing_ok=True)
        return ended

    def claim(self, job_id: str) -> None:
        """Note that a script is about to run.

        Raises:
            OSError: If that cannot be noted.
        """
        (self._folder / f"{job_id}{_RUNNING}").touch(FILE_MODE)

    def release(self, job_id: str) -> None:
        """Forget a job whose end is on record, and its output."""
        for name in (*(log_name(job_id, stream) for stream in STREAMS), f"{job_id}{_RUNNING}"):
            with contextlib.suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)
