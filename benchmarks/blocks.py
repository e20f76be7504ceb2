"""The blocks, loaded and called as the OOMOL executor does, with nobody watching."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class SilentContext:
    """The parts of `oocana.Context` that a block uses; all is thrown away."""

    def report_log(self, line: str, stdio: str = "stdout") -> None:
        """Throw away a line."""

    def preview(self, payload: object) -> None:
        """Throw away a preview."""

    def report_progress(self, progress: float) -> None:
        """Throw away a percentage."""

    def send_warning(self, warning: str) -> None:
        """Throw away a warning."""


def path_of(name: str) -> Path:
    """The module of a block."""
    return ROOT / "blocks" / name / "__init__.py"


@functools.cache
def load_block(name: str) -> Callable[[dict[str, Any], SilentContext], dict[str, Any]]:
    """The `main` of a block, loaded once, by its path."""
    path = path_of(name)
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Callable[[dict[str, Any], SilentContext], dict[str, Any]] = module.main
    return main


def call_block(name: str, url: str, **inputs: object) -> dict[str, Any]:
    """Call a block of the script-runner at a URL; returns its outputs."""
    return load_block(name)({"script_runner_url": url, **inputs}, SilentContext())
