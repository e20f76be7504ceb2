"""Runs a block the way the OOMOL executor does, and keeps what it shows."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = sorted(path.parent.name for path in ROOT.glob("blocks/*/block.oo.yaml"))


@dataclass
class RecordingContext:
    """The parts of `oocana.Context` that a block uses, recorded."""

    logs: list[tuple[str, str]] = field(default_factory=list)
    previews: list[dict[str, Any]] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report_log(self, line: str, stdio: str = "stdout") -> None:
        """Record (stream, line)."""
        self.logs.append((stdio, line))

    def preview(self, payload: dict[str, Any]) -> None:
        """Record the payload."""
        self.previews.append(payload)

    def report_progress(self, progress: float) -> None:
        """Record the percentage."""
        self.progress.append(progress)

    def send_warning(self, warning: str) -> None:
        """Record the warning."""
        self.warnings.append(warning)


@functools.cache
def manifest(name: str) -> dict[str, Any]:
    """The manifest of a block without the groups of inputs, which are for the eye; read once."""
    loaded: dict[str, Any] = yaml.safe_load(
        (ROOT / "blocks" / name / "block.oo.yaml").read_text(encoding="utf-8")
    )
    loaded["inputs_def"] = [one for one in loaded["inputs_def"] if "handle" in one]
    return loaded


def load_block(name: str) -> ModuleType:
    """The module of a block, loaded by its path as the executor loads it."""
    path = ROOT / "blocks" / name / "__init__.py"
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_block(
    name: str, context: RecordingContext | None = None, /, **inputs: object
) -> dict[str, Any]:
    """Run a block with some inputs; returns its outputs, all of them declared."""
    outputs: dict[str, Any] = load_block(name).main(inputs, context or RecordingContext())
    assert set(outputs) == {definition["handle"] for definition in manifest(name)["outputs_def"]}
    return outputs
