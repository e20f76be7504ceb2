"""A configuration to begin with: what `local-runner init` writes."""

from __future__ import annotations

from pathlib import Path

CONFIG = """\
{
  "server": {"host": "127.0.0.1", "port": 3000},
  "runner": {
    "maxConcurrent": 4,
    "jobStoreFile": "./var/jobs.json",
    "logsDir": "./var/logs"
  },
  "scriptsFile": "./scripts.json"
}
"""

SCRIPTS = r"""{
  "scripts": [
    {
      "id": "hello",
      "description": "Say hello, to the world or to whom you name",
      "path": "./scripts/hello.sh",
      "mode": "sync",
      "timeoutSec": 30,
      "args": {"maxItems": 1, "itemPattern": "^[^\\x00-\\x1f]+$", "itemMaxLength": 80}
    }
  ]
}
"""

HELLO = """\
#!/bin/sh
# A script gets its arguments as they are; what it prints is the job's output, how it ends the
# job's status.
echo "Hello, ${1:-world}!"
"""

FILES = {"config.json": CONFIG, "scripts.json": SCRIPTS, "scripts/hello.sh": HELLO}


def write(folder: Path) -> list[Path]:
    """Write the files, and the folders they need.

    Args:
        folder: Where; it need not be there.

    Returns:
        What was written.

    Raises:
        FileExistsError: If one of them is there already; none is written then.
        OSError: If they cannot be written.
    """
    paths = {folder / name: text for name, text in FILES.items()}
    for path in paths:
        if path.exists() or path.is_symlink():
            raise FileExistsError(
                None, "is there already: name another folder; nothing was written", str(path)
            )
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        if path.suffix == ".sh":
            path.chmod(path.stat().st_mode | 0o111)
    return list(paths)
