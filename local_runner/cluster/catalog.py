"""What an agent can run, as it tells the front."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterable
from pathlib import Path

from local_runner.cluster.messages import Catalog, digest_of
from local_runner.config import ScriptConfig


def catalog_of(labels: tuple[str, ...], scripts: Iterable[ScriptConfig]) -> Catalog:
    """Describe this machine; it reads all script files.

    Args:
        labels: What it has.
        scripts: What it may run.
    """
    return Catalog(
        host=socket.gethostname()[:300],
        labels=labels,
        scripts={script.id: digest_of_file(script.path) for script in scripts},
    )


def digest_of_file(path: str) -> str:
    """Short for a script file; "" if it cannot be read."""
    try:
        status = Path(path).stat()
        return _digest(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError:
        return ""


@functools.lru_cache(maxsize=4096)
def _digest(path: str, stamp: tuple[int, int, int]) -> str:  # noqa: ARG001
    """Read a file that has not changed since `stamp` once only."""
    return digest_of(Path(path).read_bytes())
