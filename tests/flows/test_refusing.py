"""Which flow files are refused: those that OOMOL's engine refuses, and what only OOMOL runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.flows.package import NODE, VALUES, A, Package, b_with, entry, node

# -- what the engine refuses


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("task: self::other", "'task' is there twice, which OOMOL refuses: remove that of line 8"),
        ("concurrency: '2'", "'concurrency' is a string, not an integer"),
        ("concurrency: null", "'concurrency' is null, not an integer"),
        ("ignore: 'no'", "'ignore' is a string, not true or false"),
        ("progress_weight: heavy", "'progress_weight' is a string, not a number"),
        ("description: 5", "'description' is an integer, not a string"),
        ("timeout: -1", "'timeout' is -1, not a whole number of seconds"),
        ("timeout: 1.5", "'timeout' is a number, not an integer"),
        (
            "12: twelve",
            "line 8: the key '12' is an integer, which is no key for OOMOL: put it in quotes",
        ),
        ("true: yes", "the key 'true' is true or false, which is no key for OOMOL"),
        ("concurrency: 2147483648", "'concurrency' is 2147483648, not an integer of 32 bits"),
        ("outputs_def: x", "'outputs_def' is a string, not a list of mappings"),
        ("inputs_def: [{group: g}]", "'handle' is missing"),
        ("outputs_def: [{handle: y, kind: 1}]", "'kind' is an integer, not a string"),
        ("inject: {script: 1}", "'script' is an integer, not a string"),
        # Also what the engine does not know.
        ("unknown: !mine 1", "line 8 has the tag '!mine', which OOMOL does not read"),
        ("unknown: [18446744073709551616]", "18446744073709551616 has more than 64 bits"),
        ("unknown: &a [*a]", "line 8 has an alias that contains itself"),
    ],
)
def test_a_key_of_a_node_that_the_engine_refuses_is_refused(
    package: Package, more: str, message: str
) -> None:
    assert message in package.refusal(f"{NODE}    {more}\n")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("description: [a]", "'description' is a list, not a string"),
        ("description: a\ndescription: b", "'description' is there twice"),
        ("inputs_def: 5", "'inputs_def' is an integer, not a list of mappings"),
        ("outputs_def: [5]", "outputs_def, line 8 is an integer, not a mapping"),
        ("outputs_from: [{value: 1}]", "'handle' is missing"),
        ("forward_previews: a", "'forward_previews' is a string, not a list"),
        ("[a]: b", "line 8: the key is a list, which is no key for OOMOL"),
    ],
)
def test_a_key_of_a_flow_that_the_engine_refuses_is_refused(
    package: Package, more: str, message: str
) -> None:
    assert message in package.refusal(f"{NODE}{more}\n")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"task": "self::gone", "concurrency": "much"}, "'concurrency' is a string"),
        ({"task": "self::gone", "timeout": "1"}, "'timeout' is a string, not an integer"),
        ({"task": "self::gone", "inputs_from": [{"handle": 5}]}, "'handle' is an integer"),
        ({"task": {"executor": {"name": "ruby"}}}, "'name' is 'ruby', not one of 'nodejs', 'pyth"),
        (
            {"task": {"executor": {"name": "nodejs", "options": {"entry": 1}}}},
            "'entry' is an integer, not a string",
        ),
        ({"conditions": {"cases": 5}}, "'cases' is an integer, not a list of mappings"),
        ({"values": None}, "'values' is missing"),
        ({"values": [{"handle": "x", "kind": 5}]}, "'kind' is an integer, not a string"),
        ({}, "is of no kind"),
    ],
)
def test_an_ignored_node_that_the_engine_refuses_is_refused_too(
    package: Package, node: dict[str, Any], message: str
) -> None:
    ignored = node | {"node_id": "b", "ignore": True}

    assert message in package.refusal(json.dumps({"nodes": [A, ignored]}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"schema_overrides": [5]}, "schema_overrides, line 1 is an integer, not a mapping"),
        ({"schema_overrides": [{"path": [1.5]}]}, "'path' is [1.5], not strings and indexes"),
        ({"serialize_for_cache": None}, "'serialize_for_cache' is null, not true or false"),
        ({"from_node": [{"node_id": "a"}]}, "'output_handle' is missing"),
    ],
)
def test_a_source_of_an_input_that_the_engine_refuses_is_refused(
    package: Package, source: dict[str, Any], message: str
) -> None:
    text = json.dumps({"nodes": [A, b_with(entry("x", **source))]})

    assert message in package.refusal(text)


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
    package.declare("echo", inputs_def=[{"handle": "x"} | handle])
    assert message in package.refusal(NODE)

    package.declare("echo", inputs_def=[], outputs_def=[{"handle": "x"} | handle])
    assert message in package.refusal(NODE)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ({"description": ["a"]}, "'description' is a list, not a string"),
        ({"inputs_def": [5]}, "inputs_def, line 1 is an integer, not a mapping"),
        ({"executor": None}, "'executor' is missing"),
        ({"executor": {"name": "python", "options": {"spawn": "no"}}}, "'spawn' is a string, not"),
    ],
)
def test_a_manifest_that_the_engine_refuses_is_refused(
    package: Package, key: dict[str, Any], message: str
) -> None:
    package.declare("echo", **key)

    assert message in package.refusal(NODE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("18446744073709551616", "18446744073709551616 has more than 64 bits, which OOMOL refuses"),
        ("-9223372036854775809", "has more than 64 bits"),
        ("{1: one}", "the key '1' is an integer, which is no key for OOMOL: put it in quotes"),
        ("[{[a]: b}]", "the key is a list, which is no key for OOMOL"),
        ("!mine 1", "has the tag '!mine', which OOMOL does not read"),
        ("&a [*a]", "has an alias that contains itself"),
        ("!!int x", "'x' is not an integer, as its tag says"),
        ("[" * 130 + "]" * 130, "is nested deeper than OOMOL reads"),
        # So deep that a parser which calls itself overflows its stack.
        ("[" * 100_000, "is nested deeper than OOMOL reads"),
        # As JSON writes an emoji.
        (r'"\ud83d\ude00"', "found invalid Unicode character escape code"),
        ("a: b", "is not YAML that OOMOL reads"),
    ],
)
def test_a_value_that_the_engine_refuses_is_refused(
    package: Package, value: str, message: str
) -> None:
    assert message in package.refusal(NODE.replace("value: 1", f"value: {value}"))


def test_a_byte_order_mark_before_several_keys_is_refused(package: Package) -> None:
    text = "\ufefftitle: A flow" + NODE

    assert "save it without its byte order mark" in package.refusal(text)


def test_a_byte_order_mark_before_a_single_key_is_read(package: Package) -> None:
    assert list(package.load("\ufeff" + NODE.lstrip()).nodes) == ["a"]


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
            "'executor' is missing",
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
    assert message in package.refusal(json.dumps({"nodes": nodes}))


def test_scripts_for_packages_are_not_run_and_named(package: Package) -> None:
    assert "has 'injection', scripts for packages, which only OOMOL runs" in package.refusal(
        f"injection: {{array: npm install}}{NODE}"
    )
