"""The machine and the versions that figures are of; no names of hosts or folders."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import tempfile
from pathlib import Path

import psutil

PACKAGES = ("httpx", "httpcore", "requests", "starlette", "uvicorn")

_CPU_FILE = Path("/proc/cpuinfo")


def description() -> dict[str, str]:
    """What figures depend on, by name."""
    memory = psutil.virtual_memory().total / 2**30
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "files on": _file_system(),
        "packages": packages,
        "SQLite": sqlite3.sqlite_version,
    }


def _file_system() -> str:
    """The file system of the temporary folder, where the runners of the benchmarks work."""
    folder = Path(tempfile.gettempdir()).resolve()
    mounted = [
        part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)
    ]
    return max(mounted, key=lambda part: len(part.mountpoint)).fstype if mounted else "unknown"


def _cpu_model() -> str:
    if _CPU_FILE.exists():
        for line in _CPU_FILE.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()
