"""The file of a log, as a thread of the disk writes it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from local_runner.storage.files import open_file

FILE_MODE = 0o600
FOLDER_MODE = 0o700

_NEW = os.O_CREAT | os.O_EXCL
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


class LogFile:
    """A file that is made when there is something to write to it, so that an empty log has none.

    Attributes:
        name: Where it is.
        size: Bytes in it.
    """

    def __init__(self, name: str) -> None:
        """Begin with a file that is not there."""
        self.name = name
        self.size = 0
        self._file: int | None = None

    @property
    def path(self) -> Path:
        """Where it is; made when it is wanted, which costs more than to open the file."""
        return Path(self.name)

    @property
    def is_open(self) -> bool:
        """Whether there is something to close."""
        return self._file is not None

    def write(self, waiting: list[bytes]) -> None:
        """Add to the file; what has been written is taken out of `waiting`.

        Raises:
            OSError: If it cannot be opened or written, for instance because the disk is full.
        """
        if not waiting:
            return
        if self._file is None:
            self._file = self._open()
        waiting[:] = [b"".join(waiting)]
        while waiting[0]:
            written = os.write(self._file, waiting[0])
            self.size += written
            waiting[0] = waiting[0][written:]
        waiting.clear()

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If what was written is lost, as a network file system may tell only now.
        """
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _open(self) -> int:
        flags = _FLAGS if self.size else _FLAGS | _NEW
        try:
            return open_file(self.name, flags, FILE_MODE)
        except FileNotFoundError:
            if self.size:
                raise
            make_folder(self.path.parent)
            return open_file(self.name, flags, FILE_MODE)


def check_folder(folder: str) -> None:
    """See that files can be made in a folder, as far as that can be told; make it if it is missing.

    Raises:
        OSError: If they cannot.
    """
    # With the slash only a folder will do.
    if not os.access(f"{folder}/", os.W_OK | os.X_OK):
        make_folder(Path(folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)


def make_folder(folder: Path) -> None:
    """Make the folder of the logs, which nobody else may look into."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
