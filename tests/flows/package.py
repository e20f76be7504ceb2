"""Small OOMOL packages, written for a test and run by `scripts.flow.cli`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.flow.document import FlowFileError
from scripts.flow.file import Flow, load_flow

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 30.0
"""After this long, a run of the command counts as hanging."""

ECHO = "def main(params, context):\n    return {'x': params['x']}\n"
FAIL = "def main(params, context):\n    raise ValueError(f'no good: {params[\"x\"]}')\n"


def node(node_id: str, block: str, **inputs: Any) -> dict[str, Any]:
    """A node of a flow; an input that is a tuple is a connection (node id, output handle)."""
    inputs_from = []
    for handle, value in inputs.items():
        if isinstance(value, tuple):
            source = {"node_id": value[0], "output_handle": value[1]}
            inputs_from.append({"handle": handle, "from_node": [source]})
        else:
            inputs_from.append({"handle": handle, "value": value})
    return {"node_id": node_id, "task": f"self::{block}", "inputs_from": inputs_from}


def entry(handle: str, *sources: tuple[str, str], **more: Any) -> dict[str, Any]:
    """An entry of `inputs_from`."""
    froms = [{"node_id": node_id, "output_handle": output} for node_id, output in sources]
    return {"handle": handle, **({"from_node": froms} if froms else {}), **more}


def b_with(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"node_id": "b", "task": "self::echo", "inputs_from": list(entries)}


NODE = """
nodes:
  - node_id: a
    task: self::echo
    inputs_from:
      - handle: x
        value: 1
"""
"""A flow with one node."""
A = node("a", "echo", x=1)
VALUES = {
    "node_id": "v",
    "values": [{"handle": "x", "value": "first"}, {"handle": "x", "value": "second"}],
}


class Package:
    """An OOMOL package with one flow, and a home and a folder for temporary files of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root / "package"
        self.flow_file = self.root / "flows" / "main" / "flow.oo.yaml"
        self.flow_file.parent.mkdir(parents=True)
        self.home, self.temporary = root / "home", root / "tmp"
        self.home.mkdir()
        self.temporary.mkdir()

    def block(
        self,
        name: str,
        code: str,
        inputs: Sequence[str] = ("x",),
        outputs: Sequence[str] = ("x",),
        manifest: str = "blocks/{}/block.oo.yaml",
    ) -> None:
        file = self.root / manifest.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "inputs_def": [{"handle": handle, "json_schema": {}} for handle in inputs],
            "outputs_def": [{"handle": handle, "json_schema": {}} for handle in outputs],
            "executor": {"name": "python", "options": {"entry": "main.py"}},
        }
        file.write_text(json.dumps(content))
        (file.parent / "main.py").write_text(code)

    def declare(self, name: str, **keys: Any) -> None:
        """Give the manifest of a block other keys."""
        manifest = self.root / "blocks" / name / "block.oo.yaml"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | keys))

    def flow(self, *nodes: dict[str, Any]) -> None:
        self.flow_file.write_text(json.dumps({"nodes": nodes}))

    def load(self, text: str) -> Flow:
        """Write the flow and load it."""
        self.flow_file.write_text(text, "utf-8")
        return load_flow(self.flow_file)

    def refusal(self, text: str) -> str:
        """Why the flow is refused; the message names the file."""
        with pytest.raises(FlowFileError) as refused:
            self.load(text)
        assert str(self.root) in str(refused.value)
        return str(refused.value)

    def command(self, *arguments: str) -> dict[str, Any]:
        """What `subprocess` needs to run the flow."""
        command = [sys.executable, "-m", "scripts.flow.cli", str(self.flow_file.parent)]
        environment = {"HOME": str(self.home), "TMPDIR": str(self.temporary)}
        return {
            "args": [*command, *arguments],
            "cwd": ROOT,
            "env": {**os.environ, **environment},
            "stdout": subprocess.PIPE,
            "text": True,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the flow to its end; whatever the end is, no file may be left over."""
        done = self.run_leaving(*arguments)
        assert self.leftovers() == []
        return done

    def run_leaving(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the flow to its end."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            **self.command(*arguments), stderr=subprocess.PIPE, timeout=RUN_SECONDS, check=False
        )
        return done

    def run_json(self, *arguments: str) -> dict[str, Any]:
        """Run the flow with `--json`; returns the document."""
        done = self.run("--json", *arguments)
        assert done.stderr == ""
        document: dict[str, Any] = json.loads(done.stdout)
        assert document["ok"] == (done.returncode == 0)
        return document

    def leftovers(self) -> list[Path]:
        return [*self.home.iterdir(), *self.temporary.iterdir()]

    def write_secret(self, kind: str, name: str, key: str, value: str) -> None:
        """Keep a secret where OOMOL's executor looks for it."""
        file = self.home / "app-config" / "oomol-secrets" / "secrets.json"
        file.parent.mkdir(parents=True)
        secret = {"secretType": kind, "secrets": [{"secretKey": key, "value": value}]}
        file.write_text(json.dumps({name: secret}))


def states(document: dict[str, Any]) -> dict[str, str]:
    return {node_id: one["state"] for node_id, one in document["nodes"].items()}
