"""As what flow files are read: as OOMOL's engine reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.flow.block import PROJECT
from scripts.flow.file import load_flow
from scripts.flow.inputs import Connection, Constant
from tests.flows.package import NODE, VALUES, A, Package, b_with, entry, node

# -- what the engine reads


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"),
        ("\ton", "on"),
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
        ("+.nan", "+.nan"),
        # Beyond 128 bits a number is one of 64 bits again, with fewer digits.
        ("1" + "0" * 40, 1e40),
        ("0x" + "F" * 33, "0x" + "F" * 33),
        ("!!float 1", 1.0),
        ("!!binary aGk=", "aGk="),
        ("!!set {a}", {"a": None}),
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
    flow = package.load(NODE.replace("value: 1", f"value: {written}"))

    assert flow.nodes["a"].inputs == {"x": Constant(value)}
    assert flow.warnings == ()


def test_of_a_handle_that_is_given_twice_the_first_value_counts(package: Package) -> None:
    flow = package.load(f"{NODE}      - {{handle: x, value: 2}}\n")

    assert flow.nodes["a"].inputs == {"x": Constant(1)}
    assert flow.warnings[0].endswith("input 'x' is there twice: only the value of the first counts")


def test_a_group_of_handles_is_no_handle(package: Package) -> None:
    # Even one that says what a handle may not say.
    group = {"group": "Connection", "collapsed": True, "handle": "y", "nullable": "no"}
    package.declare("echo", inputs_def=[group, {"handle": "x"}])

    assert package.load(NODE).nodes["a"].missing == []


def test_inputs_of_a_node_count_only_where_its_block_takes_more(package: Package) -> None:
    more = {"inputs_def": [{"handle": "y"}, {"handle": "x", "kind": "other"}]}
    text = json.dumps({"nodes": [node("a", "echo", x=1) | more]})

    assert list(package.load(text).nodes["a"].block.inputs_def) == ["x"]

    package.declare("echo", additional_inputs=True)
    declared = package.load(text).nodes["a"].block.inputs_def
    assert declared["y"] == {"handle": "y", "is_additional": True}
    assert "kind" not in declared["x"]


def test_outputs_of_a_node_count_only_where_its_block_has_some_and_takes_more(
    package: Package,
) -> None:
    text = json.dumps({"nodes": [node("a", "echo", x=1) | {"outputs_def": [{"handle": "y"}]}]})
    assert list(package.load(text).nodes["a"].block.outputs_def) == ["x"]

    package.declare("echo", additional_outputs={"any": "thing"})
    assert set(package.load(text).nodes["a"].block.outputs_def) == {"x", "y"}

    package.declare("echo", outputs_def=None)
    assert package.load(text).nodes["a"].block.outputs_def == {}


# -- what is connected to what


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
    flow = package.load(json.dumps({"nodes": [VALUES, A, OFF, b_with(*inputs_from)]}))

    assert flow.nodes["b"].inputs == inputs
    assert list(flow.nodes) == ["a", "b"]
    assert len(flow.warnings) == (warning is not None)
    assert warning is None or warning in flow.warnings[0]


# -- where a block is


@pytest.mark.parametrize(
    "task", ["self::echo", "../../blocks/echo", "../../blocks/echo/block.oo.yaml", "mine::echo"]
)
def test_a_block_of_the_own_package_has_many_names(package: Package, task: str) -> None:
    (package.root / "package.oo.yaml").write_text("name: mine\n")

    block = package.load(json.dumps({"nodes": [A | {"task": task}]})).nodes["a"].block

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

    block = package.load(json.dumps({"nodes": [A | task]})).nodes["a"].block

    assert (block.name, block.package) == ("cancel-job", PROJECT)  # type: ignore[union-attr]
