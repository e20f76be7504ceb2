"""The flows of the package on the real OOMOL Python executor, against a real local runner."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from generated_client.models import RunRequest
from scripts.demo import FLOW, ROOT, examples_served
from scripts.flow.block import Block
from scripts.flow.condition import Condition
from scripts.flow.file import Flow, load_flow
from scripts.flow.inputs import Connection, Constant
from tests.docs.markdown import README, code_blocks, code_of, section_of

DEPLOY_REPORT = ROOT / "flows" / "deploy-report"
SKILL = ROOT / "skills" / "script-runner" / "SKILL.md"
FLOWS = sorted(path.parent for path in ROOT.glob("flows/*/flow.oo.yaml"))
NODE_SIZE = (400, 500)
"""What a node with five inputs takes on the canvas of OOMOL Studio, about, in pixels."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A local runner with the scripts of `examples/`."""
    with examples_served() as served:
        yield served


def run_flow(folder: Path, url: str, *options: str) -> dict[str, Any]:
    """The nodes of one run that goes well, by their ids."""
    run = subprocess.run(
        [sys.executable, "-m", "scripts.flow.cli", str(folder), "--url", url, "--json", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    loaded: dict[str, Any] = json.loads(run.stdout)["nodes"]
    return loaded


# -- flow-1


@pytest.fixture(scope="module")
def nodes(url: str) -> dict[str, Any]:
    """The nodes of flow-1."""
    return run_flow(FLOW, url)


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


# -- deploy-report


def test_after_a_script_that_failed_the_flow_goes_no_further_and_shows_why(url: str) -> None:
    nodes = run_flow(DEPLOY_REPORT, url)

    assert nodes["run-script-sync#1"]["outputs"]["exit_code"] == 0
    assert nodes["run-script-sync#2"]["outputs"]["exit_code"] == 4
    assert nodes["get-job-logs#2"]["outputs"]["logs"] == ["api: the database does not answer"]
    skipped = [node_id for node_id, node in nodes.items() if node["state"] == "skipped"]
    assert skipped == ["run-script-sync#3", "get-job-logs#1"]


def test_when_every_script_goes_well_the_flow_goes_on(url: str) -> None:
    nodes = run_flow(DEPLOY_REPORT, url, "--input", 'run-script-sync#2.args=["shop"]')

    assert nodes["run-script-sync#3"]["outputs"]["stdout"].endswith("traffic is live\n")
    assert [nodes[f"get-job-logs#{number}"]["state"] for number in (1, 2)] == ["skipped"] * 2


@pytest.mark.parametrize("code", [4, -1, None])
def test_a_script_that_failed_or_has_no_exit_code_counts_as_failed(code: int | None) -> None:
    nodes = load_flow(DEPLOY_REPORT).nodes
    both, one = nodes["+condition#1"].block, nodes["+condition#2"].block
    assert isinstance(both, Condition)
    assert isinstance(one, Condition)

    for codes in ({"web": code, "api": 0}, {"web": 0, "api": code}):
        assert both.outputs({"args": ["traffic"], **codes}) == {}
    assert one.outputs({"job_id": "j", "exit_code": code}) == {"failed": "j"}
    assert nodes["+condition#3"].block == one


def test_the_scripts_of_deploy_report_run_at_the_same_time() -> None:
    flow = load_flow(DEPLOY_REPORT)

    for number in (1, 2):
        inputs = flow.nodes[f"run-script-sync#{number}"].inputs.values()
        assert all(isinstance(one, Constant) for one in inputs)


# -- the flow of the skill


def test_the_flow_that_the_skill_shows_runs(url: str, tmp_path: Path) -> None:
    (shown,) = code_blocks(SKILL, "yaml")
    (tmp_path / "flow.oo.yaml").write_text(shown)

    (node,) = run_flow(tmp_path, url).values()

    assert node["outputs"]["stdout"] == "Hello, Ada!\n"


def test_the_calls_that_the_skill_shows_are_those_of_the_readme() -> None:
    (commands,) = code_blocks(SKILL, "sh")
    run_script, *others = commands.splitlines()

    (table,) = section_of(README, "Over HTTP").tables
    assert set(others) <= {code_of(how)[0] for _, how in table[1:]}
    body = RunRequest.from_dict(json.loads(run_script.split("'")[-2]))
    assert (body.script_id, body.mode) == ("greet", "async")


# -- every flow


@pytest.fixture(params=FLOWS, ids=lambda folder: folder.name)
def flow(request: pytest.FixtureRequest) -> Flow:
    """Each flow in turn."""
    return load_flow(request.param)


def test_a_flow_of_the_package_has_nothing_to_warn_of_and_every_handle(flow: Flow) -> None:
    assert flow.warnings == ()
    for node in flow.nodes.values():
        # In the order of the manifest, as OOMOL Studio writes them.
        assert list(node.inputs) == list(node.block.inputs_def), node.node_id
        assert isinstance(node.block, Block) == (not node.node_id.startswith("+"))


def test_its_scripts_are_those_of_the_examples(flow: Flow) -> None:
    listed = json.loads((ROOT / "examples" / "scripts.json").read_text("utf-8"))["scripts"]
    used = {node.inputs.get("script_id") for node in flow.nodes.values()} - {None}

    assert used <= {Constant(script["id"]) for script in listed}


def test_its_titles_are_texts_of_the_locales(flow: Flow) -> None:
    content = yaml.safe_load(flow.path.read_text("utf-8"))
    titles = [content["title"], content["description"], *(one["title"] for one in content["nodes"])]

    assert [title for title in titles if not title[0] == title[-1] == "%"] == []


def test_its_picture_reads_from_left_to_right_and_nothing_lies_on_another(flow: Flow) -> None:
    picture = json.loads((flow.path.parent / ".flow.ui.oo.json").read_text("utf-8"))["nodes"]
    places = {node_id: one["rfNode"]["position"] for node_id, one in picture.items()}

    assert places.keys() == flow.nodes.keys() | flow.value_nodes
    for node in flow.nodes.values():
        for source in node.inputs.values():
            if isinstance(source, Connection):
                assert places[source.node_id]["x"] + NODE_SIZE[0] < places[node.node_id]["x"]
    for one, other in itertools.combinations(places.values(), 2):
        distances = abs(one["x"] - other["x"]), abs(one["y"] - other["y"])
        assert any(far > size for far, size in zip(distances, NODE_SIZE, strict=True))
