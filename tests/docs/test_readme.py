"""The README does what it says: each of its snippets is run, each of its lists is compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from script_runner import errors
from script_runner._settings import DEFAULT_URL
from scripts.blocks import BLOCKS
from scripts.demo import examples_served
from scripts.flow.file import Node, load_flow
from scripts.flow.inputs import Connection, Constant
from tests.docs.markdown import (
    README,
    ROOT,
    code_blocks,
    code_of,
    flat_text,
    read_sections,
    section_of,
)
from tests.support.block_runner import manifest

FLOW_1 = ROOT / "flows" / "flow-1"
URL_OF_THE_SNIPPETS = "http://127.0.0.1:3000"
COMMAND_SECONDS = 30.0


@pytest.fixture(scope="module")
def examples_url() -> Iterator[str]:
    """The URL of a local runner with the scripts of `examples/`, as `make serve` starts it."""
    with examples_served() as url:
        yield url


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with both commands on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in {"local-runner": "local_runner", "scriptctl": "script_runner.cli"}.items():
        # Not those of this environment: the tests run also where the project is not installed.
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def environment() -> dict[str, str]:
    """That of this process, in which the packages of the project are found, and no proxy."""
    unwanted = ("SCRIPT_RUNNER_TOKEN", "PYTHONWARNINGS")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "NO_PROXY": "*", "no_proxy": "*"}


def run(command: Sequence[str], folder: Path, **variables: str) -> str:
    """Run a command, which must succeed and say nothing on stderr; returns what it printed."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def shell_snippet(containing: str) -> str:
    return next(text for text in code_blocks(README, "sh") if containing in text)


def test_every_snippet_is_known_to_these_tests() -> None:
    blocks = [block for section in read_sections(README) for block in section.code_blocks]

    assert [(block.language, " ".join(block.text.split()[:2])) for block in blocks] == [
        ("sh", "git clone"),
        ("sh", "make demo"),
        ("text", "OK: 8"),
        ("sh", "pip install"),
        ("sh", "scriptctl run"),
        ("mermaid", "flowchart LR"),
        ("yaml", "nodes: -"),
        ("python", "from script_runner"),
        ("python", "import asyncio"),
        ("sh", "make cluster-demo"),
    ]


# -- Try it


def test_the_demo_ends_as_quoted() -> None:
    printed = run([sys.executable, "-m", "scripts.demo"], ROOT)

    (quoted,) = code_blocks(README, "text")
    form = re.sub(r"\d+\\\.\d+", r"\\d+\\.\\d+", re.escape(quoted))
    assert re.search(f"\n{form}$", printed), printed
    for node_id in load_flow(FLOW_1).nodes:
        assert len(re.findall(f"^{node_id}\\b", printed, re.MULTILINE)) > 1


# -- The blocks


def test_the_table_of_blocks_is_that_of_the_manifests() -> None:
    (table,) = section_of(README, "The blocks").tables

    listed = {code_of(name)[0]: (code_of(ins), code_of(outs)) for name, ins, outs in table[1:]}
    declared = {}
    for name in BLOCKS:
        ins, outs = (
            [definition["handle"] for definition in manifest(name)[key]]
            for key in ("inputs_def", "outputs_def")
        )
        assert ins.pop() == "script_runner_url"
        declared[name] = (ins, outs)
    assert listed == declared


def test_the_package_is_called_what_the_readme_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = json.loads((ROOT / "oo-locales" / "en.json").read_text("utf-8"))
    package = yaml.safe_load((ROOT / "package.oo.yaml").read_text("utf-8"))
    prose = section_of(README, "The package").prose

    assert f"`dist/{project['name']}-{project['version']}/`" in prose
    assert f"*{texts['package.name']}*" in prose
    assert package["displayName"] == "%package.name%"
    assert f"`{package['scripts']['bootstrap'].strip()}`" in prose


def test_the_picture_of_flow_1_shows_its_nodes_and_connections() -> None:
    (picture,) = code_blocks(README, "mermaid")
    shown = dict(re.findall(r"(\w+)\[(.+?)\]", picture))
    arrows = re.findall(r"(\w+) --> (\w+)", re.sub(r"\[.+?\]", "", picture))

    nodes = load_flow(FLOW_1).nodes
    assert sorted(shown.values()) == sorted(label_of(node) for node in nodes.values())
    assert sorted((shown[one], shown[other]) for one, other in arrows) == sorted(
        (label_of(nodes[source.node_id]), label_of(node))
        for node in nodes.values()
        for source in node.inputs.values()
        if isinstance(source, Connection)
    )
    assert {node.block.name for node in nodes.values()} == set(BLOCKS)


def label_of(node: Node) -> str:
    """A node in the picture: its block, and what tells it from others of that block."""
    values = {
        handle: source.value
        for handle, source in node.inputs.items()
        if isinstance(source, Constant)
    }
    said = [values[handle] for handle in ("script_id", "stream") if handle in values]
    if len(values.get("args", [])) == 1:
        said += values["args"]
    return "<br>".join(filter(None, [node.block.name, " ".join(said)]))


def test_the_flow_that_is_shown_lists_every_handle(tmp_path: Path) -> None:
    (text,) = code_blocks(README, "yaml")
    file = tmp_path / "flows" / "shown" / "flow.oo.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")
    (tmp_path / "blocks").symlink_to(ROOT / "blocks")

    shown = load_flow(file)

    assert [node.missing for node in shown.nodes.values()] == [[], [], []]
    whole = load_flow(FLOW_1)
    for node_id, node in shown.nodes.items():
        assert node.inputs == whole.nodes[node_id].inputs


# -- Your own script


def started_server(command: Sequence[str], folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `local-runner start` with a JSON log; returns its process and its URL."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    # A server that says nothing must not hold the test up for ever.
    too_late = threading.Timer(COMMAND_SECONDS, process.kill)
    too_late.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if '"listening"' in line:
            too_late.cancel()
            return process, str(json.loads(line)["url"])
    too_late.cancel()
    raise AssertionError("".join(lines))


def test_the_first_script_of_your_own_is_written_served_and_run_as_told(workshop: Path) -> None:
    install, init, start = shell_snippet("pip install").splitlines()
    assert install == "pip install '.[runner,cli]'"
    run(shlex.split(init), workshop)
    process, url = started_server([*start.split(), "--port=0", "--log-format=json"], workshop)
    try:
        told = shlex.split(shell_snippet("scriptctl run"))
        printed = run(told, workshop, SCRIPT_RUNNER_URL=url)
    finally:
        process.terminate()
        process.communicate(timeout=COMMAND_SECONDS)
    assert printed == "Hello, Ada!\n"
    assert process.returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_each_call_of_curl_does_what_its_row_says(examples_url: str, tmp_path: Path) -> None:
    (table,) = section_of(README, "Over HTTP").tables
    run_script, *others = [code_of(how)[0] for _, how in table[1:]]

    def call(command: str, job_id: str = "") -> dict[str, Any]:
        here = command.replace(URL_OF_THE_SNIPPETS, examples_url).replace("JOB_ID", job_id)
        response: dict[str, Any] = json.loads(run(["sh", "-eu", "-c", here], tmp_path))
        return response

    job = call(run_script.replace("hello", "greet"))
    assert (job["scriptId"], job["status"]) == ("greet", "succeeded")
    got = [call(command, job["jobId"]) for command in others]
    assert [response.get("ok") for response in got] == [True] * 5 + [None]
    assert got[1]["data"] == job["stdoutPreview"]
    assert "/run" in got[-1]["paths"]


# -- In Python


def python_snippet(number: int) -> str:
    return code_blocks(README, "python")[number]


def run_python(snippet: str, url: str, folder: Path) -> str:
    """Run a snippet with nothing changed but the URL; a warning is an error."""
    assert snippet.count(URL_OF_THE_SNIPPETS) == 1
    (folder / "snippet.py").write_text(snippet.replace(URL_OF_THE_SNIPPETS, url), "utf-8")
    return run([sys.executable, "-W", "error", "snippet.py"], folder)


def promised(snippet: str) -> str:
    """What a snippet says it prints: the comment behind or below its first `print`."""
    match = re.search(r"print\(.*\)\s+# (.+)", snippet)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("number", [0, 1], ids=["library", "asyncio"])
def test_a_python_snippet_prints_what_it_says(
    examples_url: str, tmp_path: Path, number: int
) -> None:
    snippet = python_snippet(number)

    printed = run_python(snippet, examples_url, tmp_path)

    assert printed.strip() == promised(snippet)


def test_the_library_snippet_says_so_where_it_does_not_work(tmp_path: Path) -> None:
    # Nobody listens on port 1, which only root could.
    printed = run_python(python_snippet(0), "http://127.0.0.1:1", tmp_path)

    assert printed.startswith("it did not work: POST /run at http://127.0.0.1:1: no connection")
    assert printed.count("\n") == 1


# -- When something goes wrong, Limits


def test_the_table_of_errors_has_every_class() -> None:
    (table,) = section_of(README, "When something goes wrong").tables

    listed = [code_of(row[0])[0] for row in table[1:]]
    family = errors.ScriptRunnerError.__subclasses__()
    classes = [error.__name__ for error in family if error.__module__ == errors.__name__]
    assert sorted(listed) == sorted(classes)


def test_the_url_that_is_said_to_be_the_default_is_it() -> None:
    default = DEFAULT_URL

    assert f"**`script_runner_url`** is `{default}` by default" in flat_text(README)
    for name in BLOCKS:
        assert value_of(manifest(name), "script_runner_url") == default
    assert httpx.URL(default).port == 3000


def value_of(block: dict[str, Any], handle: str) -> object:
    """The default that a manifest gives an input."""
    (definition,) = [one for one in block["inputs_def"] if one["handle"] == handle]
    return definition["value"]
