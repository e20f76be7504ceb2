"""The wire: what reaches a script, its arguments byte for byte, its input and environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.runner_process import RunnerProcess

PRINTS_ARGUMENTS = """#!/bin/sh
for argument in "$@"; do printf '%s\\0' "$argument"; done
"""

ARGUMENTS = [
    "",
    " ",
    "two words",
    "  spaces  around  ",
    "'",
    '"',
    'it\'s "quoted"',
    "'; touch \"$HOME\"; '",
    "$(echo substituted)",
    "`echo substituted`",
    "$HOME ${PATH} $1 $0",
    "a;b&c|d>e<f(g)",
    "*",
    "?[a-z]~{a,b}",
    "!history",
    "#comment",
    "back\\slash \\n \\\\",
    "line\nfeed",
    "\n",
    "carriage\r\nreturn",
    "\ttab\x0b\x0c\x1b[31m\x7f\x01",
    "-n",
    "--",
    "-rf",
    "--help",
    "%s %d %",
    "日志 é e\u0301 \u2028 \ufeff \ufffd",
    "😀👩‍👩‍👧",
    "=",
    "NAME=value",
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    many = {"args": {"maxItems": 100, "itemMaxLength": 100_000}}
    with RunnerProcess(
        tmp_path_factory.mktemp("scripts"),
        {
            "arguments": PRINTS_ARGUMENTS,
            "input": '#!/bin/sh\ncat\necho "cat: $?"\n',
            "environment": "#!/bin/sh\nenv\n",
            "open-files": "#!/bin/sh\nfor fd in 0 1 2 3 4 5 6 7 8 9; do\n"
            "  { true >&$fd; } 2>/dev/null && echo $fd\ndone\n",
        },
        runner={"previewMaxBytes": 1024 * 1024},
        rules={"arguments": many},
        environment={"GREETING": "grüß  dich\n'", "EMPTY": ""},
    ) as started:
        yield started


def received(job: dict[str, Any]) -> list[str]:
    """The arguments that the script got."""
    assert job["status"] == "succeeded", job
    return str(job["stdoutPreview"]).split("\0")[:-1]


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_argument_reaches_the_script_byte_for_byte(runner: RunnerProcess, argument: str) -> None:
    assert received(runner.run("arguments", argument)) == [argument]


def test_many_arguments_reach_the_script_in_order(runner: RunnerProcess) -> None:
    arguments = [*ARGUMENTS, "x" * 100_000, *reversed(ARGUMENTS)]

    assert received(runner.run("arguments", *arguments)) == arguments


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    arguments=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50),
        max_size=10,
    )
)
def test_any_arguments_reach_the_script(runner: RunnerProcess, arguments: list[str]) -> None:
    assert received(runner.run("arguments", *arguments)) == arguments


def test_the_input_of_a_script_is_empty(runner: RunnerProcess) -> None:
    assert runner.run("input")["stdoutPreview"] == "cat: 0\n"


def test_a_script_inherits_no_file_but_its_three_streams(runner: RunnerProcess) -> None:
    assert runner.run("open-files")["stdoutPreview"] == "0\n1\n2\n"


def test_a_script_inherits_the_environment_and_learns_which_job_it_is(
    runner: RunnerProcess,
) -> None:
    job = runner.run("environment")

    printed = job["stdoutPreview"]
    assert "\nGREETING=grüß  dich\n'\n" in f"\n{printed}"
    assert "\nEMPTY=\n" in f"\n{printed}"
    assert f"\nSCRIPT_RUNNER_JOB_ID={job['jobId']}\n" in f"\n{printed}"
    assert "SCRIPT_RUNNER_TOKEN" not in printed
