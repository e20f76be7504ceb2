"""`scripts.flow.cli` runs small packages on the real OOMOL Python executor."""

from __future__ import annotations

import pytest

from scripts.flow.broker import SUBSCRIBE_SECONDS
from tests.flows.package import ECHO, Package, node, states


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
    assert "after    echo  not run: waits for 'x', but lacks#1 did not run" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED: 1 finished, 2 not run in ")


def test_a_failed_node_stops_only_the_nodes_after_it(package: Package) -> None:
    package.flow(
        node("bad", "fail", x="seven"),
        node("after", "echo", x=("bad", "x")),
        node("last", "echo", x=("after", "x")),
        node("other", "echo", x=1),
    )

    done = package.run()

    assert done.returncode == 1
    assert "bad       error | ValueError: no good: seven" in done.stdout
    assert "Traceback" not in done.stdout
    summary = done.stdout[done.stdout.index("\n\n") :]
    assert "\n  failed: ValueError: no good: seven\n" in summary
    assert "not run: waits for 'x', but bad failed" in summary
    assert "not run: waits for 'x', but after did not run" in summary
    assert summary.splitlines()[-1].startswith("FAILED: 1 finished, 1 failed, 2 not run in ")


CHAIN = """
class Odd(Exception): pass
Odd.__module__ = "deep.errors"
def main(params, context):
    try:
        raise KeyError(1)
    except KeyError as error:
        raise Odd("several\\n  lines") from error
"""


def test_an_error_of_several_lines_keeps_them_and_loses_its_traceback(package: Package) -> None:
    package.block("odd", CHAIN, inputs=())
    package.flow(node("o", "odd"))

    assert "o     error | Odd: several\no     error |   lines\n\n" in package.run().stdout


def test_verbose_shows_the_traceback_of_a_failed_node(package: Package) -> None:
    package.flow(node("bad", "fail", x="seven"))

    printed = package.run("--verbose").stdout

    assert "bad     error | Traceback (most recent call last):" in printed
    assert f"{package.root}/blocks/fail/main.py" in printed
    assert "bad     error | ValueError: no good: seven" in printed


def test_a_value_node_gives_its_value_to_every_node_that_takes_it(package: Package) -> None:
    values = [{"handle": "url", "value": "http://one"}, {"handle": "null", "nullable": True}]
    package.flow(
        {"node_id": "v", "values": values},
        node("a", "echo", x=("v", "url")),
        node("b", "echo", x=("v", "url")),
        node("c", "echo", x=("v", "null")),
    )

    document = package.run_json()

    outputs = {node_id: one["outputs"]["x"] for node_id, one in document["nodes"].items()}
    assert outputs == {"a": "http://one", "b": "http://one", "c": None}


def test_a_task_that_the_flow_holds_runs_beside_the_flow(package: Package) -> None:
    script = package.flow_file.parent / "scriptlets" / "double.py"
    script.parent.mkdir()
    script.write_text("def main(params): return {'y': 2 * params['x']}\n")
    task = {
        "inputs_def": [{"handle": "x"}],
        "outputs_def": [{"handle": "y"}],
        "executor": {"name": "python", "options": {"entry": "scriptlets/double.py"}},
    }
    package.flow(node("a", "echo", x=21), node("d", "none", x=("a", "x")) | {"task": task})

    assert package.run_json()["nodes"]["d"]["outputs"] == {"y": 42}


def test_a_block_of_another_package_runs_on_an_executor_of_that_package(package: Package) -> None:
    cancel = node("c", "none", job_id="j", script_runner_url="no url")
    cancel["task"] = "script-runner-proxy::cancel-job"
    package.block("who", "import sys\ndef main(params): return {'x': sys.path[-1]}\n", inputs=())
    # The executor of the other package is the first, whose folder this one must not get.
    package.flow(cancel, node("w", "who"))

    nodes = package.run_json()["nodes"]

    assert nodes["w"]["outputs"] == {"x": str(package.root)}
    # It found the library of its own package, which refuses the URL.
    assert "InvalidInput: script_runner_url" in nodes["c"]["error"]


def test_a_node_is_ended_after_its_timeout(package: Package) -> None:
    package.block("hold", "import time\ndef main(params): time.sleep(600)\n", inputs=())
    package.flow(node("h", "hold") | {"timeout": 1}, node("e", "echo", x=1) | {"timeout": 600})

    document = package.run_json()

    assert states(document) == {"h": "failed", "e": "finished"}
    assert document["nodes"]["h"]["error"] == (
        "Timeout: the node ran longer than its 'timeout' of 1 s"
    )


def test_what_oomol_leaves_out_is_a_warning(package: Package) -> None:
    package.flow(node("a", "echo", x=1, y=2))

    done, document = package.run(), package.run_json()

    assert done.returncode == 0
    assert done.stderr.startswith("Warning: ")
    assert done.stderr.endswith("declares no input 'y' (it declares: x): OOMOL leaves it out\n")
    assert [f"Warning: {one}\n" for one in document["warnings"]] == [done.stderr]


def test_a_node_that_never_sends_what_another_waits_for_is_named(package: Package) -> None:
    package.block("silent", "def main(params): return {}\n", inputs=())
    package.flow(node("silent", "silent"), node("after", "echo", x=("silent", "x")))

    document = package.run_json()

    assert states(document) == {"silent": "finished", "after": "not run"}
    assert document["nodes"]["after"]["error"] == "waits for 'x', but silent sent none"


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
    assert document == {
        "flow": str(package.flow_file),
        "ok": True,
        "error": None,
        "warnings": [],
        "cancelled": [],
        "nodes": {},
    }
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
        node("single", "echo", x=["one"]),
    )

    printed = package.run().stdout

    assert f'x = "{"a" * 199} ... 1,102 more characters' in printed
    assert "    line 9\n    ... 1,002 more lines\n" in printed
    assert "    9\n    ... 15 more items\n" in printed
    assert '  x = ["one"]\n' in printed


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
        (["--input", "a.z=1"], "node 'a': 'echo' declares no input 'z'"),
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
    assert done.stderr.startswith(f"Error: {package.flow_file}: nodes, line 1 (node 'b'): no block")


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
        "ValueError: QueryBlock is answered by OOMOL's engine only: run the flow in OOMOL\n"
    )


def test_the_weight_of_a_node_in_the_progress_is_taken_without_a_reply(package: Package) -> None:
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
