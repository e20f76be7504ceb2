"""Runs a block the way the OOMOL executor does, and keeps what it shows."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import yaml

from scripts.blocks import ROOT, load_block


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


def run_block(
    name: str, context: RecordingContext | None = None, /, **inputs: object
) -> dict[str, Any]:
    """Run a block with some inputs; returns its outputs, all of them declared."""
    outputs: dict[str, Any] = load_block(name).main(inputs, context or RecordingContext())
    assert set(outputs) == {definition["handle"] for definition in manifest(name)["outputs_def"]}
    return outputs
