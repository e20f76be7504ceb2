"""Which flow files are read, and as what: as OOMOL's engine does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.flow.block import PROJECT
from scripts.flow.document import FlowFileError
from scripts.flow.file import Flow, load_flow
from scripts.flow.inputs import Connection, Constant
from tests.flows.package import Package, node


def load(package: Package, text: str) -> Flow:
    """Write the flow and load it."""
    package.flow_file.write_text(text, "utf-8")
    return load_flow(package.flow_file)


def refusal(package: Package, text: str) -> str:
    """Why the flow is refused; the message names the file."""
    with pytest.raises(FlowFileError) as refused:
        load(package, text)
    assert str(package.root) in str(refused.value)
    return str(refused.value)


# -- what the engine refuses

NODE = """
nodes:
  - node_id: a
    task: self::echo
    inputs_from:
      - handle: x
        value: 1
"""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("task: self::other", "'task' is there twice, which OOMOL refuses: remove that of line 8"),
        ("concurrency: '2'", "'concurrency' is a string, not an integer"),
        ("concurrency: null", "'concurrency' is null, not an integer"),
        ("ignore: 'no'", "'ignore' is a string, not true or false"),
        ("progress_weight: heavy", "'progress_weight' is a string, not an integer"),
        ("description: 5", "'description' is an integer, not a string"),
        ("timeout: -1", "'timeout' is -1, not a whole number of seconds"),
        ("timeout: 1.5", "'timeout' is a number, not an integer"),
        ("12: twelve", "line 8: the key '12' is an integer, which OOMOL refuses: put it in quotes"),
        ("true: yes", "the key 'true' is true or false, which OOMOL refuses"),
    ],
)
def test_a_key_of_a_node_that_the_engine_refuses_is_refused(
    package: Package, more: str, message: str
) -> None:
    assert message in refusal(package, f"{NODE}    {more}\n")


def test_the_types_of_an_ignored_node_count_too(package: Package) -> None:
    ignored = "  - {node_id: b, task: 'self::gone', ignore: true, concurrency: much}\n"

    assert "'concurrency' is a string" in refusal(package, NODE + ignored)


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ({"nullable": "yes"}, "'nullable' is a string, not true or false"),
        ({"description": ["a"]}, "'description' is a list, not a string"),
        ({"kind": 1}, "'kind' is an integer, not a string"),
    ],
)
def test_a_handle_of_a_block_that_the_engine_refuses_is_refused(
    package: Package, handle: dict[str, Any], message: str
) -> None:
    manifest = package.root / "blocks" / "echo" / "block.oo.yaml"
    content = json.loads(manifest.read_text())
    content["inputs_def"][0] |= handle
    manifest.write_text(json.dumps(content))

    assert message in refusal(package, NODE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("18446744073709551616", "18446744073709551616 has more than 64 bits, which OOMOL refuses"),
        ("-9223372036854775809", "has more than 64 bits"),
        ("{1: one}", "the key '1' is an integer, which OOMOL refuses: put it in quotes"),
        ("[{[a]: b}]", "the key is a list, which OOMOL refuses"),
        ("!mine 1", "has the tag '!mine', which OOMOL does not read"),
        ("&a [*a]", "has an alias that contains itself"),
        ("a: b", "is not YAML that OOMOL reads"),
    ],
)
def test_a_value_that_the_engine_refuses_is_refused(
    package: Package, value: str, message: str
) -> None:
    assert message in refusal(package, NODE.replace("value: 1", f"value: {value}"))


def test_a_byte_order_mark_before_several_keys_is_refused(package: Package) -> None:
    text = "\ufefftitle: A flow" + NODE

    assert "save it without its byte order mark" in refusal(package, text)


def test_a_byte_order_mark_before_a_single_key_is_read(package: Package) -> None:
    assert list(load(package, "\ufeff" + NODE.lstrip()).nodes) == ["a"]


# -- what the engine reads


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("007", "007"),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("-0b11", -3),
        ("0X1F", "0X1F"),
        ("1_000", "1_000"),
        ("18446744073709551615", 2**64 - 1),
        ("1.5e3", 1500.0),
        ("1e999", "1e999"),
        (".inf", None),
        ("true", True),
        ("yes", "yes"),
        ("", None),
        ("'1'", "1"),
        ("<<", "<<"),
        ("{a: 1, a: 2}", {"a": 2}),
        ("a\u2028b", "ab"),
    ],
)
def test_values_are_read_as_the_engine_reads_them(
    package: Package, written: str, value: object
) -> None:
    flow = load(package, NODE.replace("value: 1", f"value: {written}"))

    assert flow.nodes["a"].inputs == {"x": Constant(value)}
    assert flow.warnings == ()


def test_of_a_handle_that_is_given_twice_the_first_value_counts(package: Package) -> None:
    flow = load(package, f"{NODE}      - {{handle: x, value: 2}}\n")

    assert flow.nodes["a"].inputs == {"x": Constant(1)}
    assert flow.warnings[0].endswith("input 'x' is there twice: only the value of the first counts")


def test_a_group_of_handles_is_no_handle(package: Package) -> None:
    manifest = package.root / "blocks" / "echo" / "block.oo.yaml"
    content = json.loads(manifest.read_text())
    content["inputs_def"].insert(0, {"group": "Connection", "collapsed": True})
    manifest.write_text(json.dumps(content))

    assert load(package, NODE).nodes["a"].missing == []


def test_inputs_of_a_node_count_only_where_its_block_takes_more(package: Package) -> None:
    more = {"inputs_def": [{"handle": "y"}, {"handle": "x", "kind": "other"}]}
    text = json.dumps({"nodes": [node("a", "echo", x=1) | more]})

    assert list(load(package, text).nodes["a"].block.inputs_def) == ["x"]

    manifest = package.root / "blocks" / "echo" / "block.oo.yaml"
    content = json.loads(manifest.read_text()) | {"additional_inputs": True}
    manifest.write_text(json.dumps(content))
    declared = load(package, text).nodes["a"].block.inputs_def
    assert declared["y"] == {"handle": "y", "is_additional": True}
    assert "kind" not in declared["x"]


# -- what is connected to what


def entry(handle: str, *sources: tuple[str, str], **more: Any) -> dict[str, Any]:
    """An entry of `inputs_from`."""
    froms = [{"node_id": node_id, "output_handle": output} for node_id, output in sources]
    return {"handle": handle, **({"from_node": froms} if froms else {}), **more}


def b_with(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"node_id": "b", "task": "self::echo", "inputs_from": list(entries)}


VALUES = {
    "node_id": "v",
    "values": [{"handle": "x", "value": "first"}, {"handle": "x", "value": "second"}],
}
A = node("a", "echo", x=1)
OFF = node("off", "echo", x=1) | {"ignore": True}
LEFT_OUT = "OOMOL leaves it out"


@pytest.mark.parametrize(
    ("inputs_from", "inputs", "warning"),
    [
        ([entry("x", ("v", "x"))], {"x": Constant("first")}, None),
        ([entry("x", ("v", "x"), value=2)], {"x": Constant("first")}, None),
        ([entry("x", ("v", "x"), ("v", "x"))], {}, "several value nodes, of which OOMOL takes"),
        ([entry("x", ("v", "y"), value=2)], {"x": Constant(2)}, f"'v', without 'y': {LEFT_OUT}"),
        ([entry("x", ("a", "x"), value=2)], {"x": Connection("a", "x")}, None),
        (
            [entry("x", ("a", "x"), ("v", "x"))],
            {"x": Connection("a", "x")},
            "takes a value node, too, in whose place the connection counts",
        ),
        (
            [entry("x", ("off", "x"), value=2)],
            {"x": Constant(2)},
            f"'off', no node that runs: {LEFT_OUT}",
        ),
        ([entry("x", ("gone", "x"))], {}, f"'gone', no node that runs: {LEFT_OUT}"),
        (
            [entry("x", value=2), entry("y", value=1)],
            {"x": Constant(2)},
            "no input 'y' (it declares: x)",
        ),
        (
            [entry("x", ("a", "y"))],
            {"x": Connection("a", "y")},
            "waits for 'y' of 'a', whose outputs are: x",
        ),
    ],
)
def test_what_the_engine_drops_silently_is_a_warning(
    package: Package,
    inputs_from: list[dict[str, Any]],
    inputs: dict[str, Constant | Connection],
    warning: str | None,
) -> None:
    flow = load(package, json.dumps({"nodes": [VALUES, A, OFF, b_with(*inputs_from)]}))

    assert flow.nodes["b"].inputs == inputs
    assert list(flow.nodes) == ["a", "b"]
    assert len(flow.warnings) == (warning is not None)
    assert warning is None or warning in flow.warnings[0]


# -- what is not run here


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [node("a", "echo", x=("b", "x")), node("b", "echo", x=("a", "x"))],
            "a cycle: a -> b -> a",
        ),
        ([A | {"ignore": True}], "no nodes to run"),
        ([VALUES], "no nodes to run"),
        ([], "no nodes to run"),
        ("text", "'nodes' is a string, not a list of mappings"),
        ([A, A], "another node has the node_id 'a', too"),
        ([{"node_id": "a"}], "is of no kind: give it a task, conditions or values"),
        (
            [{"node_id": "a", "subflow": "self::s"}],
            "is a subflow: run it as a flow of its own, or run",
        ),
        (
            [{"node_id": "a", "slot": {}}],
            "is a slot: it belongs to a subflow, or run the flow in OOMOL",
        ),
        ([{"node_id": "a", "service": "s"}], "is a service: give the node a task, or run the flow"),
        ([A | {"inject": {"package": "p"}}], "has 'inject', which only OOMOL can: remove it"),
        ([node("a", "gone")], "no block 'self::gone', neither"),
        ([A | {"task": "array::map"}], "the package 'array' is not here, only the flow's own and"),
        (
            [A | {"task": {"executor": {"name": "nodejs"}}}],
            "has the executor 'nodejs', and only Python",
        ),
        (
            [A | {"task": {}}],
            "has no executor, and only Python blocks run here: run the flow in OOMOL",
        ),
        (
            [A | {"task": {"executor": {"name": "python"}}}],
            "options.entry is missing: name the Python",
        ),
        (
            [b_with({"handle": "x", "from_flow": [{"input_handle": "y"}]})],
            "give it a value or 'from_node'",
        ),
        (
            [A, b_with(entry("x", ("a", "x"), ("a", "x")))],
            "several connections, for which OOMOL runs",
        ),
    ],
)
def test_what_is_not_run_is_named_with_what_to_do(
    package: Package, nodes: list[dict[str, Any]], message: str
) -> None:
    assert message in refusal(package, json.dumps({"nodes": nodes}))


def test_scripts_for_packages_are_not_run_and_named(package: Package) -> None:
    assert "has 'injection', scripts for packages, which only OOMOL runs" in refusal(
        package, f"injection: {{array: npm install}}{NODE}"
    )


# -- where a block is


@pytest.mark.parametrize(
    "task", ["self::echo", "../../blocks/echo", "../../blocks/echo/block.oo.yaml", "mine::echo"]
)
def test_a_block_of_the_own_package_has_many_names(package: Package, task: str) -> None:
    (package.root / "package.oo.yaml").write_text("name: mine\n")

    block = load(package, json.dumps({"nodes": [A | {"task": task}]})).nodes["a"].block

    assert (block.manifest, block.package) == (  # type: ignore[union-attr]
        package.root / "blocks" / "echo" / "block.oo.yaml",
        package.root,
    )


def test_a_flow_and_a_block_may_end_in_yml(package: Package) -> None:
    block = package.root / "blocks" / "echo" / "block.oo.yaml"
    block.rename(block.with_suffix(".yml"))
    flow = package.flow_file.with_suffix(".yml")
    flow.write_text(NODE)

    assert load_flow(flow.parent).path == flow


def test_a_block_of_this_project_is_found_by_its_package_from_any_flow(package: Package) -> None:
    task = {"task": "script-runner-proxy::cancel-job"}

    block = load(package, json.dumps({"nodes": [A | task]})).nodes["a"].block

    assert (block.name, block.package) == ("cancel-job", PROJECT)  # type: ignore[union-attr]
