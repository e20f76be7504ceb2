"""flow-1 on the real OOMOL Python executor, against a real local runner."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from scripts.demo import FLOW, ROOT, examples_served
from tests.support.block_runner import manifest


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """The nodes of one run of flow-1, by their ids."""
    with examples_served() as url:
        run = subprocess.run(
            [sys.executable, "-m", "scripts.flow.cli", str(FLOW), "--url", url, "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    loaded: dict[str, Any] = json.loads(run.stdout)["nodes"]
    return loaded


COUNTED = [f"step {number} of 6 ✓" for number in range(1, 7)]
REMARKED = ["remark: 3 divides by three", "remark: 6 divides by three"]


def test_every_node_of_flow_1_finishes(nodes: dict[str, Any]) -> None:
    assert {node["state"] for node in nodes.values()} == {"finished"}
    assert len(nodes) == 8


def test_the_async_branch_waits_and_reads_what_the_script_wrote(nodes: dict[str, Any]) -> None:
    job_id = nodes["run-script-async#1"]["outputs"]["job_id"]
    ended = {
        "status": "completed",
        "exit_code": 0,
        "stdout_preview": "".join(f"{line}\n" for line in COUNTED),
        "stderr_preview": "".join(f"{line}\n" for line in REMARKED),
    }
    assert nodes["wait-for-job#1"]["outputs"] == {**ended, "job_id": job_id}
    assert nodes["get-job-status#1"]["outputs"] == ended
    for node, lines in (("get-job-logs#1", COUNTED), ("get-job-logs#2", REMARKED)):
        assert nodes[node]["outputs"] == {
            "logs": lines,
            "total_lines": len(lines),
            "truncated": False,
        }


def test_the_long_task_is_cancelled(nodes: dict[str, Any]) -> None:
    outputs = nodes["cancel-job#1"]["outputs"]
    assert outputs["success"] is True
    assert nodes["run-script-async#2"]["outputs"]["job_id"] in outputs["message"]


def test_the_sync_branch_passes_its_arguments(nodes: dict[str, Any]) -> None:
    outputs = nodes["run-script-sync#1"]["outputs"]
    assert outputs["stdout"] == "Hello, Ada Lovelace!\nHello, 小明!\n"
    assert (outputs["exit_code"], outputs["status"]) == (0, "completed")


def test_every_node_lists_every_handle_of_its_block() -> None:
    flow = yaml.safe_load((FLOW / "flow.oo.yaml").read_text(encoding="utf-8"))
    for node in flow["nodes"]:
        declared = manifest(node["task"].removeprefix("self::"))["inputs_def"]
        assert [entry["handle"] for entry in node["inputs_from"]] == [
            definition["handle"] for definition in declared
        ], node["node_id"]


def test_the_scripts_of_flow_1_are_those_of_the_examples() -> None:
    flow = yaml.safe_load((FLOW / "flow.oo.yaml").read_text(encoding="utf-8"))
    used = {
        entry["value"]
        for node in flow["nodes"]
        for entry in node["inputs_from"]
        if entry["handle"] == "script_id"
    }
    scripts = json.loads((ROOT / "examples" / "scripts.json").read_text(encoding="utf-8"))
    assert used <= {script["id"] for script in scripts["scripts"]}
