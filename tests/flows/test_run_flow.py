"""`scripts.flow.cli` on small packages of their own, with the real OOMOL Python executor."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.flow.executor import SUBSCRIBE_SECONDS
from scripts.flow.file import Constant, FlowFileError, load_flow

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 30.0
"""After this long, a run of the command counts as hanging."""
CLEAN_UP_SECONDS = 5.0
"""How long killed processes may take to be gone."""

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

    def flow(self, *nodes: dict[str, Any]) -> None:
        self.flow_file.write_text(json.dumps({"nodes": nodes}))

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
        done: subprocess.CompletedProcess[str] = subprocess.run(
            **self.command(*arguments), stderr=subprocess.PIPE, timeout=RUN_SECONDS, check=False
        )
        assert self.leftovers() == []
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


@pytest.fixture
def package(tmp_path: Path) -> Package:
    made = Package(tmp_path)
    made.block("echo", ECHO)
    made.block("fail", FAIL)
    return made


def states(document: dict[str, Any]) -> dict[str, str]:
    return {node_id: one["state"] for node_id, one in document["nodes"].items()}


def test_a_node_runs_after_the_node_whose_output_it_takes(package: Package) -> None:
    package.flow(
        node("second#1", "echo", x=("first#1", "x")),
        node("first#1", "echo", x={"deep": ["ä", 1.5, True]}),
    )

    done = package.run()

    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines[:4]] == [
        ["first#1", "echo", "started"],
        ["first#1", "echo", "finished"],
        ["second#1", "echo", "started"],
        ["second#1", "echo", "finished"],
    ]
    assert lines.count('  x = {"deep": ["ä", 1.5, true]}') == 2
    assert lines[-1].startswith("OK: 2 finished in ")
    assert (done.returncode, done.stderr) == (0, "")


def test_independent_nodes_run_at_the_same_time(package: Package) -> None:
    (package.root / "meeting.py").write_text("import threading\nmet = threading.Barrier(3)\n")
    package.block("meet", "import meeting\ndef main(params):\n    meeting.met.wait(10)\n", (), ())
    package.flow(node("a", "meet"), node("b", "meet"), node("c", "meet"))

    assert states(package.run_json()) == {"a": "finished", "b": "finished", "c": "finished"}


def test_a_value_goes_to_the_next_node_before_its_node_ends(package: Package) -> None:
    (package.root / "meeting.py").write_text("import threading\narrived = threading.Event()\n")
    package.block(
        "send",
        "import meeting\ndef main(params, context):\n    context.output('x', 'early')\n"
        "    assert meeting.arrived.wait(10)\n",
        inputs=(),
    )
    package.block("receive", "import meeting\ndef main(params):\n    meeting.arrived.set()\n")
    package.flow(node("send", "send"), node("receive", "receive", x=("send", "x")))

    document = package.run_json()

    assert states(document) == {"send": "finished", "receive": "finished"}
    assert document["nodes"]["send"]["outputs"] == {"x": "early"}


def test_null_is_a_value_and_can_be_passed_on(package: Package) -> None:
    package.flow(node("a", "echo", x=None), node("b", "echo", x=("a", "x")))

    assert package.run_json()["nodes"]["b"]["outputs"] == {"x": None}


def test_a_block_may_be_in_tasks(package: Package) -> None:
    package.block("newer", ECHO, manifest="tasks/{}/task.oo.yaml")
    package.flow(node("a", "newer", x=1))

    assert package.run_json()["nodes"]["a"]["outputs"] == {"x": 1}


def test_a_missing_input_is_named_and_fails_the_run(package: Package) -> None:
    package.block("two", ECHO, inputs=("x", "y"))
    package.flow(
        node("lacks#1", "two", x=1),
        node("after", "echo", x=("lacks#1", "x")),
        node("ok", "echo", x=1),
    )

    done = package.run()

    assert done.returncode == 1
    assert (
        "lacks#1  two   not run: no value and no connection for 'y': OOMOL never runs a node "
        "unless every input its block declares has one, whatever its default" in done.stdout
    )
    assert "after    echo  not run: waits for 'x' of lacks#1, which did not run" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED: 1 finished, 2 not run in ")


def test_a_failed_node_shows_its_traceback_and_stops_only_the_nodes_after_it(
    package: Package,
) -> None:
    package.flow(
        node("bad", "fail", x="seven"),
        node("after", "echo", x=("bad", "x")),
        node("last", "echo", x=("after", "x")),
        node("other", "echo", x=1),
    )

    done = package.run()

    assert done.returncode == 1
    assert "bad       error | Traceback (most recent call last):" in done.stdout
    assert f"{package.root}/blocks/fail/main.py" in done.stdout
    assert "bad       error | ValueError: no good: seven" in done.stdout
    summary = done.stdout[done.stdout.index("\n\n") :]
    assert "Traceback" not in summary
    assert "failed: ValueError: no good: seven (the whole error is above" in summary
    assert "not run: waits for 'x' of bad, which failed" in summary
    assert "not run: waits for 'x' of after, which did not run" in summary
    assert summary.splitlines()[-1].startswith("FAILED: 1 finished, 1 failed, 2 not run in ")


def test_a_node_that_never_sends_what_another_waits_for_is_named(package: Package) -> None:
    package.block("silent", "def main(params): return {}\n", inputs=())
    package.flow(node("silent", "silent"), node("after", "echo", x=("silent", "x")))

    document = package.run_json()

    assert states(document) == {"silent": "finished", "after": "not run"}
    assert document["nodes"]["after"]["error"] == "waits for 'x' of silent, which sent none"


TALK = """
def main(params, context):
    print("to stdout")
    context.report_log("to stderr", stdio="stderr")
    context.send_warning("careful")
    context.preview({"type": "text", "data": "seen"})
    context.report_progress(30)
    return {"x": 1, "undeclared": 2}
"""
UNDECLARED = "Output handle key: [undeclared] is not defined in Block outputs schema."


def test_the_json_document_holds_all_a_node_did(package: Package) -> None:
    package.block("talk", TALK, inputs=())
    package.flow(node("t", "talk"))

    document = package.run_json()

    talk = document["nodes"].pop("t")
    assert 0 < talk.pop("seconds") < document.pop("seconds")
    assert document == {"flow": str(package.flow_file), "ok": True, "error": None, "nodes": {}}
    assert talk == {
        "block": "talk",
        "state": "finished",
        "progress": 30,
        "outputs": {"x": 1},
        "logs": [
            {"stream": "stdout", "text": "to stdout"},
            {"stream": "stderr", "text": "to stderr"},
        ],
        "warnings": ["careful", UNDECLARED],
        "previews": [{"type": "text", "data": "seen"}],
        "error": None,
    }


def test_logs_warnings_and_progress_are_printed_under_their_node(package: Package) -> None:
    package.block("talk", TALK, inputs=())
    package.flow(node("t", "talk"))

    assert package.run().stdout.splitlines()[1:6] == [
        "t           | to stdout",
        "t    stderr | to stderr",
        "t   warning | careful",
        "t  progress | 30 %",
        f"t   warning | {UNDECLARED}",
    ]


def test_long_outputs_are_shortened_and_tell_how_much_is_left_out(package: Package) -> None:
    package.flow(
        node("text", "echo", x="a" * 1300),
        node("lines", "echo", x="".join(f"line {i}\n" for i in range(1012))),
        node("array", "echo", x=list(range(25))),
    )

    printed = package.run().stdout

    assert f'x = "{"a" * 199} ... 1,102 more characters' in printed
    assert "    line 9\n    ... 1,002 more lines\n" in printed
    assert "    9\n    ... 15 more items\n" in printed


def test_an_input_on_the_command_line_replaces_the_flows(package: Package) -> None:
    package.block("two", "def main(params): return {'x': params}\n", inputs=("x", "y"))
    package.flow(
        node("a#1", "echo", x="old"), node("b.c", "two", x=("a#1", "x")), node("d", "echo", x="old")
    )

    document = package.run_json(
        "--input", 'a#1.x={"n": 1}', "--input", "b.c.x=not = JSON", "--input", "b.c.y=null"
    )

    outputs = {node_id: one["outputs"]["x"] for node_id, one in document["nodes"].items()}
    assert outputs == {"a#1": {"n": 1}, "b.c": {"x": "not = JSON", "y": None}, "d": "old"}


def test_the_url_goes_to_every_node_that_has_one_but_an_input_wins(package: Package) -> None:
    handle = "script_runner_url"
    package.block("url", f"def main(params): return {{'x': params['{handle}']}}\n", (handle,))
    package.flow(
        node("a", "url", script_runner_url="http://old"),
        node("b", "url", script_runner_url="http://old"),
        node("lacks", "url"),
    )

    document = package.run_json("--url", "http://new", "--input", f"b.{handle}=http://mine")

    outputs = {node_id: one["outputs"].get("x") for node_id, one in document["nodes"].items()}
    assert outputs == {"a": "http://new", "b": "http://mine", "lacks": None}
    assert states(document)["lacks"] == "not run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "nobody.x=1"], "there is no node 'nobody'"),
        (["--input", "a.z=1"], "node 'a': block 'echo' declares no input 'z'"),
        (["--input", "a.x"], "'a.x' is not NODE.HANDLE=VALUE"),
        (["--timeout", "0"], "--timeout"),
    ],
)
def test_a_wrong_command_line_starts_nothing_and_exits_with_2(
    package: Package, arguments: list[str], message: str
) -> None:
    package.flow(node("a", "echo", x=1))

    done = package.run("--json", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_wrong_flow_file_starts_nothing_and_exits_with_2(package: Package) -> None:
    package.flow(node("a", "echo", x=1), node("b", "gone", x=1))

    done = package.run()

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: {package.flow_file}: node 'b': no block 'gone', neither")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [node("a", "echo", x=("b", "x")), node("b", "echo", x=("a", "x"))],
            "a cycle: a -> b -> a",
        ),
        ([node("a", "echo", x=("gone", "x"))], "node 'a' takes an input from 'gone': no such node"),
        ([node("a", "echo", x=1) | {"ignore": True}], "no nodes to run"),
        ([node("a", "echo", y=1)], "block 'echo' declares no input 'y' (it declares: x)"),
        ([node("a", "echo", x=1), node("b", "echo", x=("a", "y"))], "declares no output 'y'"),
        ([node("a", "echo", x=1)] * 2, "two nodes have the node_id 'a'"),
        ([{"node_id": "a", "subflow": "self::s"}], "node 'a' has 'subflow': only task nodes"),
        ([{"node_id": "a", "values": []}], "node 'a' has 'values': only task nodes"),
        ([node("a", "echo", x=1) | {"timeout": 5}], "node 'a' has 'timeout', which is not"),
        ([node("a", "echo") | {"task": "pkg::echo"}], "task 'pkg::echo' is not of the form self::"),
        (
            [node("a", "echo") | {"inputs_from": [{"handle": "x", "from_flow": []}]}],
            "input 'x' has 'from_flow'",
        ),
        (
            [
                node("a", "echo", x=1),
                node("b", "echo")
                | {
                    "inputs_from": [
                        {"handle": "x", "from_node": [{"node_id": "a", "output_handle": "x"}] * 2}
                    ]
                },
            ],
            "input 'x' has several connections",
        ),
        ([], "no nodes to run"),
        ("text", "nodes: not a list of mappings"),
    ],
)
def test_a_flow_that_cannot_run_is_refused(
    package: Package, nodes: list[dict[str, Any]], message: str
) -> None:
    package.flow_file.write_text(json.dumps({"nodes": nodes}))

    with pytest.raises(FlowFileError) as refusal:
        load_flow(package.flow_file)

    assert str(package.flow_file) in str(refusal.value)
    assert message in str(refusal.value)


def test_a_block_without_an_entry_is_refused_for_the_executor_would_hang(package: Package) -> None:
    manifest = package.root / "blocks" / "echo" / "block.oo.yaml"
    manifest.write_text(json.dumps({"executor": {"name": "python"}}))
    package.flow(node("a", "echo"))

    with pytest.raises(FlowFileError, match="entry is missing"):
        load_flow(package.flow_file)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("-3", -3),
        ("1.5e3", 1500.0),
        ("true", True),
        ("", None),
        ("'1'", "1"),
    ],
)
def test_values_are_read_as_the_engine_reads_them(
    package: Package, written: str, value: object
) -> None:
    package.flow_file.write_text(
        "nodes:\n  - node_id: a\n    task: self::echo\n    inputs_from:\n"
        f"      - handle: x\n        value: {written}\n"
    )

    assert load_flow(package.flow_file).nodes["a"].inputs == {"x": Constant(value)}


HOLD = """
import fcntl, pathlib, subprocess, threading
held = (pathlib.Path(__file__).parent / "held").open("w")
def main(params):
    fcntl.flock(held, fcntl.LOCK_EX)
    subprocess.Popen(["sleep", "600"], pass_fds=[held.fileno()])
    print("held")
    threading.Event().wait()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_neither_a_process_nor_a_file_behind(
    package: Package, number: signal.Signals, code: int
) -> None:
    package.block("hold", HOLD, inputs=())
    package.flow(node("h", "hold"), node("after", "echo", x=("h", "x")))

    with subprocess.Popen(**package.command("--timeout", f"{RUN_SECONDS}")) as process:
        assert process.stdout is not None
        while "held" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == code
    assert f"error | still running: {number.name} ended the run." in printed
    # The lock is held until both the executor and the process its block started are gone.
    with (package.root / "blocks/hold/held").open() as held:
        _wait_until(lambda: _can_lock(held.fileno()))
    assert package.leftovers() == []


def test_an_executor_that_dies_is_an_error_with_its_last_output(package: Package) -> None:
    package.block(
        "die",
        "import os, signal\ndef main(params):\n    print('last words', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        inputs=(),
    )
    package.flow(node("d", "die"), node("after", "echo", x=("d", "x")))

    document = package.run_json()

    assert states(document) == {"d": "failed", "after": "not run"}
    headline, _, *last_output = document["error"].splitlines()
    assert headline == "The executor was killed by SIGKILL before the flow ended."
    assert last_output[-1] == "  last words"
    assert document["nodes"]["d"]["error"] == f"still running: {headline}"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("", None),
        ("0", "block call exit with message: 0"),
        ("'bye'", "block call exit with message: bye"),
    ],
)
def test_sys_exit_ends_a_block_and_any_status_fails_it(
    package: Package, status: str, error: str | None
) -> None:
    (package.root / "meeting.py").write_text(
        "import threading\nleaving, threads = threading.Event(), []\n"
    )
    package.block(
        "leave",
        "import meeting, sys, threading\ndef main(params):\n"
        "    meeting.threads.append(threading.current_thread())\n    meeting.leaving.set()\n"
        f"    sys.exit({status})\n",
        inputs=(),
    )
    # The executor tells twice that such a block has ended, the second time without the error.
    package.block(
        "outlast",
        "import meeting\ndef main(params):\n    assert meeting.leaving.wait(10)\n"
        "    meeting.threads[0].join(10)\n",
        inputs=(),
    )
    package.flow(node("a", "leave"), node("b", "outlast"))

    document = package.run_json()

    assert document["nodes"]["a"]["error"] == error
    assert states(document) == {"a": "failed" if error else "finished", "b": "finished"}


def test_a_block_that_raises_system_exit_is_ended_by_the_timeout(package: Package) -> None:
    package.block("vanish", "def main(params):\n    raise SystemExit(0)\n", inputs=())
    package.flow(node("v", "vanish"))

    document = package.run_json("--timeout", "2")

    assert states(document) == {"v": "failed"}
    assert document["nodes"]["v"]["error"] == (
        "still running: The flow was not over after 2 s (--timeout)."
    )
    assert "SystemExit" in document["error"]


def test_what_only_the_engine_can_answer_is_an_error_of_the_block(package: Package) -> None:
    package.block(
        "ask",
        "async def main(params, context):\n    await context.query_block('self::echo')\n",
        inputs=(),
    )
    package.flow(node("a", "ask"))

    error = package.run_json()["nodes"]["a"]["error"]

    assert error.endswith(
        "ValueError: this runner has no answer to QueryBlock: only OOMOL's engine has\n"
    )


def test_the_weight_of_a_node_in_the_progress_is_taken_without_an_answer(package: Package) -> None:
    package.block(
        "weigh",
        "async def main(params, context):\n"
        "    await context.internal.update_node_weight('w', 2)\n    return {'x': 1}\n",
        inputs=(),
    )
    package.flow(node("w", "weigh"))

    document = package.run_json()

    assert document["nodes"]["w"]["outputs"] == {"x": 1}
    assert document["nodes"]["w"]["seconds"] < SUBSCRIBE_SECONDS


def _can_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CLEAN_UP_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
