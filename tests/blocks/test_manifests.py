"""Manifest, code, locales, package and README of each block say the same."""

from __future__ import annotations

import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.blocks import BLOCKS, ROOT, load_block
from tests.support.block_runner import manifest

PACKAGE = "script-runner-proxy"
SKILL = ROOT / "skills" / "script-runner" / "SKILL.md"
PACKAGED_DOCUMENTS = [*sorted((ROOT / "scripts" / "package").glob("*.md")), SKILL]
"""What whoever has the package reads of it."""
PYTHON_TYPES = {"string": str, "number": float, "boolean": bool}
LOCALES = ("en", "zh-CN")
HANDLES = {
    "run-script-async": (["script_id", "args"], ["job_id"]),
    "run-script-sync": (
        ["script_id", "args"],
        ["stdout", "stderr", "exit_code", "status", "job_id", "truncated"],
    ),
    "get-job-status": (["job_id"], ["status", "exit_code", "stdout_preview", "stderr_preview"]),
    "get-job-logs": (
        ["job_id", "stream", "offset", "limit"],
        ["logs", "total_lines", "truncated"],
    ),
    "cancel-job": (["job_id"], ["success", "message"]),
    "wait-for-job": (
        ["job_id", "timeout_seconds"],
        ["status", "exit_code", "stdout_preview", "stderr_preview", "job_id"],
    ),
}
"""The interface that flows rely on: a new input handle breaks every flow there is."""


def python_type(definition: dict[str, Any]) -> Any:
    schema = definition["json_schema"]
    if "enum" in schema:
        kind: Any = typing.Literal[tuple(schema["enum"])]
    elif schema["type"] == "array":
        kind = types.GenericAlias(list, (PYTHON_TYPES[schema["items"]["type"]],))
    else:
        kind = PYTHON_TYPES[schema["type"]]
    return kind | None if definition.get("nullable") else kind


def locale(name: str) -> dict[str, str]:
    loaded: dict[str, str] = json.loads((ROOT / "oo-locales" / f"{name}.json").read_text("utf-8"))
    return loaded


def keys_used(value: Any) -> set[str]:
    return set(re.findall(r'"?%([^%"]+)%', yaml.safe_dump(value)))


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_has_exactly_the_handles_that_flows_list(name: str) -> None:
    inputs, outputs = HANDLES[name]
    content = manifest(name)
    listed = [definition["handle"] for definition in content["inputs_def"]]
    assert listed == [*inputs, "script_runner_url"]
    assert [definition["handle"] for definition in content["outputs_def"]] == outputs
    assert content["executor"] == {"name": "python", "options": {"entry": "__init__.py"}}


@pytest.mark.parametrize("name", BLOCKS)
def test_the_generated_meta_of_the_code_is_that_of_the_manifest(name: str) -> None:
    module, content = load_block(name), manifest(name)
    inputs = typing.get_type_hints(module.Inputs)
    assert inputs == {
        definition["handle"]: python_type(definition) for definition in content["inputs_def"]
    }
    assert list(inputs) == [definition["handle"] for definition in content["inputs_def"]]
    outputs = typing.get_type_hints(module.Outputs)
    assert outputs == {
        definition["handle"]: python_type(definition) for definition in content["outputs_def"]
    }
    assert module.Outputs.__optional_keys__ == set(outputs)
    code = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert code.startswith("#region generated meta\nimport typing\n")
    assert "\n#endregion\n" in code


@pytest.mark.parametrize("name", BLOCKS)
def test_the_code_of_a_block_is_short(name: str) -> None:
    lines = (ROOT / "blocks" / name / "__init__.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) - lines.index("#endregion") <= 40


@pytest.mark.parametrize("language", LOCALES)
def test_every_text_is_in_every_language_and_none_is_left_over(language: str) -> None:
    texts = locale(language)
    package = yaml.safe_load((ROOT / "package.oo.yaml").read_text(encoding="utf-8"))
    flows = [yaml.safe_load(path.read_text("utf-8")) for path in ROOT.glob("flows/*/flow.oo.yaml")]
    used = set().union(*map(keys_used, [package, *map(manifest, BLOCKS), *flows]))
    assert set(texts) == used
    assert all(text.strip() == text and text for text in texts.values())


@pytest.mark.parametrize("name", BLOCKS)
def test_every_handle_is_described(name: str) -> None:
    content = manifest(name)
    texts = locale("en")
    for definition in [*content["inputs_def"], *content["outputs_def"]]:
        assert len(texts[definition["description"].strip("%")]) > 10, definition["handle"]


@pytest.mark.parametrize("name", BLOCKS)
def test_studio_folds_the_url_away_and_lets_what_waits_take_its_time(name: str) -> None:
    content = yaml.safe_load((ROOT / "blocks" / name / "block.oo.yaml").read_text("utf-8"))

    group, url = content["inputs_def"][-2:]
    assert (group, url["handle"]) == (
        {"group": "Connection", "collapsed": True},
        "script_runner_url",
    )
    assert content.get("long_running", False) == (name in ("run-script-sync", "wait-for-job"))
    schemas = [one["json_schema"] for one in content["inputs_def"] if "handle" in one]
    for schema in schemas:
        labels = schema.get("ui:options", {}).get("labels", [])
        assert len(labels) == len(schema.get("enum", []))


def test_the_package_lists_every_block_once_and_says_what_is_new() -> None:
    package = yaml.safe_load((ROOT / "package.oo.yaml").read_text(encoding="utf-8"))
    assert sorted(package["ui"]["blocks"]) == BLOCKS
    assert package["releaseNotes"]
    assert (ROOT / package["icon"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("document", PACKAGED_DOCUMENTS, ids=lambda path: path.name)
def test_a_document_of_the_package_has_a_row_for_each_block_with_its_handles(
    document: Path,
) -> None:
    row = re.compile(rf"^\| `(?:oo::{PACKAGE}::)?([a-z-]+)` \| (.+) \|$", re.MULTILINE)
    rows = dict(row.findall(document.read_text(encoding="utf-8")))
    assert sorted(set(rows) & set(BLOCKS)) == BLOCKS
    for name in BLOCKS:
        cells = rows[name].split(" | ")[-2:]
        inputs, outputs = (re.findall(r"`([a-z_]+)`", cell) for cell in cells)
        assert (inputs, outputs) == HANDLES[name], name
