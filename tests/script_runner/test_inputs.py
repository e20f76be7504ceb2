"""The checks of inputs: what passes, as what, and what is said of what does not."""

from __future__ import annotations

import re
from threading import TIMEOUT_MAX
from typing import Any

import pytest

from script_runner import InvalidInput
from script_runner.oomol import inputs

MISSING: list[dict[str, Any]] = [{}, {"a": None}]
"""A value that is missing and null are alike."""

SURROGATE = "x\ud800"
HUGE = 10**5000
"""More digits than Python writes out."""

NO_STRING: list[object] = [5, True, 1.5, [], {}, b"bytes", HUGE]


def named(value: object) -> str:
    """The name of a test for a value; pytest's own cannot be made of a huge number."""
    try:
        return repr(value)[:40]
    except ValueError:
        return "huge"


def refusal(said: str) -> str:
    return f"^{re.escape(said)}$"


@pytest.mark.parametrize("value", ["a", " ", "日志 😀", "0", "a\nb\x00", "x" * 100_000])
def test_a_text_passes_as_it_is(value: str) -> None:
    assert inputs.string({"a": value}, "a") == value


@pytest.mark.parametrize(
    "params", [*MISSING, {"a": ""}, *({"a": value} for value in NO_STRING)], ids=named
)
def test_a_text_must_be_there(params: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=r"^a must be a string that is not empty, got ."):
        inputs.string(params, "a")


@pytest.mark.parametrize("params", MISSING)
def test_texts_are_none_by_default(params: dict[str, Any]) -> None:
    assert inputs.strings(params, "a") == []


@pytest.mark.parametrize("value", [[], ["a"], ["", "日"], ("a", "b")])
def test_texts_pass_as_a_list_of_their_own(value: Any) -> None:
    passed = inputs.strings({"a": value}, "a")
    assert passed == list(value)
    assert passed is not value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a b", "a must be an array of strings, got 'a b'"),
        (5, "a must be an array of strings, got 5"),
        ({"b": 1}, "a must be an array of strings, got {'b': 1}"),
        ({"b"}, "a must be an array of strings, got {'b'}"),
        ([1], "a[0] must be a string, got 1"),
        (["x", None], "a[1] must be a string, got null"),
        (["x", ["y"]], "a[1] must be a string, got ['y']"),
        (["x", SURROGATE], "a[1] has half a surrogate pair, which cannot be sent: remove it"),
        ([HUGE], "a[0] must be a string, got a value of type int"),
    ],
    ids=named,
)
def test_other_things_are_no_texts(value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=refusal(said)):
        inputs.strings({"a": value}, "a")


def test_what_is_nested_too_deep_to_be_shown_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for check in (inputs.string, inputs.stream):
        with pytest.raises(InvalidInput, match=r"a must be .*, got a value of type list$"):
            check({"a": deep}, "a")
    with pytest.raises(InvalidInput, match=r"must be .*, got a value of type list$"):
        inputs.url({"script_runner_url": deep})
    with pytest.raises(InvalidInput, match=r"a\[0\] must be a string, got a value of type list$"):
        inputs.strings({"a": [deep]}, "a")


def test_a_text_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match=refusal("a has half a surrogate pair, which cannot be sent: remove it")
    ):
        inputs.string({"a": SURROGATE}, "a")


@pytest.mark.parametrize("params", MISSING)
def test_a_number_is_its_default(params: dict[str, Any]) -> None:
    assert inputs.whole_number(params, "a", default=100, least=1) == 100
    assert inputs.seconds(params, "a", default=300.0) == 300.0


@pytest.mark.parametrize(
    ("value", "passed"), [(0, 0), (7, 7), (100.0, 100), (-0.0, 0), (1e15, 10**15), (10**30, 10**30)]
)
def test_a_whole_number_passes_as_an_integer(value: float, passed: int) -> None:
    number = inputs.whole_number({"a": value}, "a", default=5, least=0)
    assert (number, type(number)) == (passed, int)


NO_NUMBER: list[tuple[object, str]] = [
    (True, "True"),
    (False, "False"),
    ("5", "'5'"),
    ([5], "[5]"),
    ({}, "{}"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (float("-inf"), "-inf"),
    (-1, "-1"),
    (-HUGE, "a value of type int"),
]


@pytest.mark.parametrize(("value", "shown"), [*NO_NUMBER, (1.5, "1.5"), (1e-9, "1e-09")], ids=named)
def test_other_things_are_no_whole_number(value: object, shown: str) -> None:
    said = f"a must be a whole number of 0 or more, got {shown}"
    with pytest.raises(InvalidInput, match=refusal(said)):
        inputs.whole_number({"a": value}, "a", default=5, least=0)


def test_a_whole_number_has_a_least_value() -> None:
    assert inputs.whole_number({"a": 1}, "a", default=5, least=1) == 1
    with pytest.raises(InvalidInput, match=refusal("a must be a whole number of 1 or more, got 0")):
        inputs.whole_number({"a": 0}, "a", default=5, least=1)


@pytest.mark.parametrize(("value", "passed"), [(0, 0.0), (1.5, 1.5), (300, 300.0), (1e-9, 1e-9)])
def test_seconds_pass_as_a_float(value: float, passed: float) -> None:
    number = inputs.seconds({"a": value}, "a", default=5)
    assert (number, type(number)) == (passed, float)


@pytest.mark.parametrize(("value", "shown"), [*NO_NUMBER, (HUGE, "a value of type int")], ids=named)
def test_other_things_are_no_seconds(value: object, shown: str) -> None:
    said = f"a must be a number of seconds, 0 or more, at most {TIMEOUT_MAX:.0f}, got {shown}"
    with pytest.raises(InvalidInput, match=refusal(said)):
        inputs.seconds({"a": value}, "a", default=5)


@pytest.mark.parametrize(
    ("params", "stream"),
    [
        *((each, "stdout") for each in MISSING),
        ({"a": "stdout"}, "stdout"),
        ({"a": "stderr"}, "stderr"),
    ],
)
def test_a_stream_is_stdout_by_default(params: dict[str, Any], stream: str) -> None:
    assert inputs.stream(params, "a") == stream


@pytest.mark.parametrize("value", ["stdin", "", "STDOUT", 1, ["stdout"], {}, SURROGATE])
def test_there_are_two_streams(value: object) -> None:
    said = f"a must be stdout or stderr, got {value!r}"
    with pytest.raises(InvalidInput, match=refusal(said)):
        inputs.stream({"a": value}, "a")


@pytest.mark.parametrize("params", [{}, {"script_runner_url": None}])
def test_a_url_is_that_of_the_local_runner_by_default(params: dict[str, Any]) -> None:
    assert inputs.url(params) == "http://localhost:3000"


@pytest.mark.parametrize("value", ["", *NO_STRING], ids=named)
def test_a_url_must_be_a_text(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^script_runner_url must be a string that is not"):
        inputs.url({"script_runner_url": value})


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(InvalidInput) as caught:
        inputs.string({"a": ["y" * 1000]}, "a")
    assert str(caught.value) == f"a must be a string that is not empty, got ['{'y' * 78}…"


def test_a_refusal_is_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="must be a string"):
        inputs.string({}, "a")


def test_the_error_for_a_text_that_cannot_be_sent_does_not_hold_the_text() -> None:
    with pytest.raises(InvalidInput) as caught:
        inputs.url({"script_runner_url": f"http://any:s3cret@host/{SURROGATE}"})
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("value", [".", ".."])
def test_an_id_of_a_job_is_no_other_path(value: str) -> None:
    with pytest.raises(
        InvalidInput, match=refusal(f"job_id must not be {value!r}, which would be another path")
    ):
        inputs.job_id({"job_id": value})
    assert inputs.job_id({"job_id": "..."}) == "..."
