"""How a condition decides: as OOMOL's engine does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from scripts.flow.document import FlowFileError
from scripts.flow.file import load_flow
from tests.flows.package import Package, node, states


def condition(
    node_id: str, *cases: dict[str, Any], default: str | None = None, **inputs: Any
) -> dict[str, Any]:
    """A condition node."""
    named = node(node_id, "none", **inputs)
    del named["task"]
    conditions = {"cases": cases, "default": default and {"handle": default}}
    defs = [{"handle": handle} for handle in inputs]
    return named | {"inputs_def": defs, "conditions": conditions}


def case(handle: str, *expressions: tuple[Any, ...], logical: str | None = None) -> dict[str, Any]:
    """A case; an expression is an input, an operator and a value or nothing."""
    written = [
        {"input_handle": one, "operator": operator, **({"value": value[0]} if value else {})}
        for one, operator, *value in expressions
    ]
    return {"handle": handle, "logical": logical, "expressions": written}


TRUE = """
1 | == | 1             [1, {"a": "b"}] | == | [1, {"a": "b"}]        "a" | != | "b"
0 | != | 0.0           null | != | 0             2 | > | 1.5         1 | < | 2
2 | >= | 2.0           2 | <= | 2                null | is null      0 | is not null
true | is true         false | is false          "abc" | contains | "b"
[1, 2] | contains | 2  "abc" | not contains | "x"                    [1] | not contains | 2
"" | is empty          null | is empty           {} | is empty       [0] | is not empty
1 | in | [1, 2]        null | in | [null]        3 | not in | [1, 2]
{"a": 1} | has key | "a"      {"a": 1} | not has key | "b"
{"a": 1} | has value | 1      {"a": 1} | not has value | 2
"abc" | starts with | "a"     "abc" | ends with | "c"
"""
FALSE = """
0 | == | 0.0           0 | == | false            1 | == | "1"        null | == | null
1 | !=                 1 | != | null             "2" | > | 1         true | >= | 0
null | < | 1           0 | is null               1 | is true         0 | is false
null | is false        5 | contains | 5          5 | not contains | 6
0 | is empty           0 | is not empty          "a" | in | "abc"    "a" | not in | "bcd"
"a" | has key | "a"    [1] | has value | 1       5 | starts with | "5"
"a" | ends with | null
"""


def expressions(table: str) -> list[str]:
    return [one for line in table.splitlines() for one in re.split(r"\s{2,}", line) if one]


@pytest.mark.parametrize(
    ("expression", "holds"),
    [*((one, True) for one in expressions(TRUE)), *((one, False) for one in expressions(FALSE))],
)
def test_an_operator_compares_as_json(package: Package, expression: str, holds: bool) -> None:
    written, operator, *right = expression.split(" | ")
    value = json.loads(written)
    package.flow(condition("c", case("taken", ("x", operator, *map(json.loads, right))), x=value))

    block = load_flow(package.flow_file).nodes["c"].block

    assert block.outputs({"x": value}) == ({"taken": value} if holds else {})  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("logical", "x", "y", "taken"),
    [
        ("AND", 1, 2, "b"),
        ("AND", 1, 1, "a"),
        ("OR", 1, 2, "a"),
        (None, 1, 2, "a"),
        (None, 0, 0, "b"),
    ],
)
def test_a_case_needs_each_of_its_expressions_or_one(
    package: Package, logical: str | None, x: int, y: int, taken: str
) -> None:
    needed = case("a", ("x", "==", 1), ("y", "==", 1), logical=logical)
    package.flow(condition("c", needed, case("never"), default="b", x=x, y=y))

    block = load_flow(package.flow_file).nodes["c"].block

    assert block.outputs({"x": x, "y": y}) == {taken: x}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ([case("a", ("x", "=~", "y"))], "the operator is '=~', not one of '==', '!=', '>'"),
        ([case("a", logical="XOR")], "'logical' is 'XOR', not 'AND' or 'OR'"),
        ([case("a", logical="")], "'logical' is '', not 'AND' or 'OR'"),
        ([{"handle": "a"}], "'expressions' is missing"),
        ([case("a") | {"description": 5}], "'description' is an integer, not a string"),
        ("a", "'cases' is a string, not a list of mappings"),
    ],
)
def test_a_condition_that_the_engine_refuses_is_refused(
    package: Package, cases: Any, message: str
) -> None:
    refused = condition("c", x=1)
    refused["conditions"]["cases"] = cases
    package.flow_file.write_text(json.dumps({"nodes": [refused]}))

    with pytest.raises(FlowFileError, match=message):
        load_flow(package.flow_file)


def test_the_branch_that_is_not_taken_is_skipped_and_no_failure(package: Package) -> None:
    package.flow(
        node("start", "echo", x=3),
        condition("c", case("failed", ("x", "!=", 0)), default="good", x=("start", "x")),
        node("mend", "echo", x=("c", "failed")),
        node("go", "echo", x=("c", "good")),
        node("on", "echo", x=("go", "x")),
    )

    document = package.run_json()

    assert states(document) == {
        "start": "finished",
        "c": "finished",
        "mend": "finished",
        "go": "skipped",
        "on": "skipped",
    }
    assert document["nodes"]["mend"]["outputs"] == {"x": 3}
    assert document["nodes"]["go"]["error"] == "waits for 'good', but c did not take that branch"
    assert document["ok"]


def test_a_condition_of_which_no_case_holds_says_so(package: Package) -> None:
    package.flow(condition("c", case("a", ("x", "==", 2)), x=1), node("b", "echo", x=("c", "a")))

    printed = package.run().stdout

    assert "c (condition)\n  no case holds\n" in printed
    assert printed.splitlines()[-1].startswith("OK: 1 finished, 1 skipped in ")


def test_a_node_that_waits_for_a_failed_one_too_does_not_count_as_skipped(package: Package) -> None:
    package.block("two", "def main(params): return {}\n", inputs=("x", "y"))
    package.flow(
        condition("c", default="a", x=1),
        node("bad", "fail", x=1),
        node("b", "two", x=("c", "b"), y=("bad", "x")),
    )

    assert states(package.run_json())["b"] == "not run"
