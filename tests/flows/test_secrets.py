"""A flow whose URL is an OOMOL secret: its token goes to the runner, and nowhere else."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.flow.executor import EXECUTOR
from scripts.runner_process import RunnerProcess
from tests.flows.package import Package, node

TOKEN = "qMz7-not-to-be-seen-Xw3k"
SECRET = "${{OO_SECRET:Custom,script-runner,URL}}"
OBSERVED_EXECUTOR = f"""#!{sys.executable}
# The executor as OOMOL starts it, its logs in files, and all messages of the broker in one more.
import pathlib, subprocess, sys, threading
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
home, ready = pathlib.Path.home(), threading.Event()
messages = (home / "messages").open("ab", buffering=0)
client = mqtt.Client(CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe("#")
client.on_subscribe = lambda *_: ready.set()
client.on_message = lambda _, data, message: messages.write(message.payload + b"\\n")
address = next(one for one in sys.argv if one.startswith("--address="))
host, _, port = address.removeprefix("--address=").partition(":")
client.connect(host, int(port))
client.loop_start()
ready.wait(10)
with (home / "console").open("wb") as console:
    command = ["{EXECUTOR}", *sys.argv[1:], "--output=file"]
    sys.exit(subprocess.call(command, stdout=console, stderr=console))
"""


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """A local runner that wants a token."""
    folder = tmp_path / "runner"
    folder.mkdir()
    scripts = {"greet": '#!/bin/sh\necho "Hello, $1!"\necho careful >&2\n'}
    environment = {"SCRIPT_RUNNER_TOKEN": TOKEN}
    with RunnerProcess(folder, scripts, environment=environment) as started:
        yield started


def flow_with(url: str) -> list[dict[str, Any]]:
    """Every block once, with a value node for the URL."""
    nodes = [
        node("sync", "run-script-sync", script_id="greet", args=["Ada"]),
        node("async", "run-script-async", script_id="greet", args=["Ada"]),
        node("wait", "wait-for-job", job_id=("async", "job_id"), timeout_seconds=20),
        node("status", "get-job-status", job_id=("wait", "job_id")),
        node("logs", "get-job-logs", job_id=("wait", "job_id"), stream="stdout", offset=0, limit=9),
        node("cancel", "cancel-job", job_id=("wait", "job_id")),
        node("wrong", "get-job-status", job_id="no such job"),
    ]
    source = {"node_id": "runner", "output_handle": "script_runner_url"}
    for one in nodes:
        one["task"] = one["task"].replace("self::", "script-runner-proxy::")
        one["inputs_from"].append({"handle": "script_runner_url", "from_node": [source]})
    value = {"handle": "script_runner_url", "value": url}
    return [{"node_id": "runner", "values": [value]}, *nodes]


def run_observed(package: Package, url: str) -> tuple[dict[str, Any], list[Path]]:
    """Run the flow; returns its document, and all files that it left a trace in."""
    executor = package.root.parent / "observed-executor"
    executor.write_text(OBSERVED_EXECUTOR)
    executor.chmod(0o755)
    package.flow(*flow_with(url))
    done = package.run_leaving("--json", f"--executor={executor}")
    (package.home / "document").write_text(done.stdout + done.stderr)
    document: dict[str, Any] = json.loads(done.stdout)
    return document, [path for path in package.root.parent.rglob("*") if path.is_file()]


def with_the_token(files: list[Path]) -> set[str]:
    """The names of the files that have the token, plain or as it is sent to the runner."""
    sent = base64.b64encode(f"any:{TOKEN}".encode())
    contents = ((path.name, path.read_bytes()) for path in files)
    return {name for name, text in contents if TOKEN.encode() in text or sent in text}


def test_the_token_of_a_secret_is_in_no_message_log_event_or_file(
    package: Package, runner: RunnerProcess
) -> None:
    package.write_secret(
        "Custom", "script-runner", "URL", runner.url.replace("//", f"//any:{TOKEN}@")
    )

    document, files = run_observed(package, SECRET)

    nodes = document["nodes"]
    assert nodes.pop("wrong")["state"] == "failed"
    assert {one["state"] for one in nodes.values()} == {"finished"}
    assert nodes["sync"]["outputs"]["stdout"] == "Hello, Ada!\n"
    assert with_the_token(files) == {"secrets.json"}
    assert TOKEN not in json.dumps(runner.logged())
    seen = {path.name for path in files}
    assert seen > {"messages", "console", "document", "flow.oo.yaml", "jobs.sqlite3"}
    assert any(name.startswith("python-executor-") for name in seen)
    (messages,) = (path for path in files if path.name == "messages")
    assert SECRET in messages.read_text()


def test_the_token_that_a_flow_holds_is_found_by_the_same_search(
    package: Package, runner: RunnerProcess
) -> None:
    _, files = run_observed(package, runner.url.replace("//", f"//any:{TOKEN}@"))

    assert with_the_token(files) == {"flow.oo.yaml", "messages"}


@pytest.mark.parametrize("file", ["without the file", "without the key"])
def test_a_secret_that_does_not_exist_is_named_before_the_run_and_by_the_block(
    package: Package, file: str
) -> None:
    if file == "without the key":
        package.write_secret("Custom", "script-runner", "OTHER", "x")
    status = node("s", "get-job-status", job_id="j", script_runner_url=SECRET)
    status["task"] = "script-runner-proxy::get-job-status"
    package.flow(status, node("other", "echo", x=f"{SECRET}."))

    done = package.run_leaving()

    named = f"Warning: node 's': input 'script_runner_url' is {SECRET}, a secret that is not in "
    assert done.stderr.startswith(named)
    assert done.stderr.count("Warning: ") == 1
    assert (
        "InvalidInput: script_runner_url is the OOMOL secret Custom,script-runner,URL, which is "
        "not there: add one of this type, name and key"
    ) in done.stdout
