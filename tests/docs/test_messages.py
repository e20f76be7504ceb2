"""Every message that somebody can meet can be understood by who sees it for the first time.

The messages are provoked, each in its variants, and each place in the source that makes one must
have been run meanwhile: a new message without a case here fails the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.client_messages import client_messages
from tests.docs.command_line_messages import command_line_messages
from tests.docs.input_messages import input_messages
from tests.docs.markdown import ROOT, section_of
from tests.docs.message_sites import Line, Site, lines_run, modules_of, sites_of
from tests.docs.messages import Message, problems_of
from tests.docs.runner_messages import runner_messages
from tests.docs.shortage_messages import shortage_messages

MODULES = modules_of("script_runner", "local_runner")

NOT_PROVOKED = {
    "ScriptProcess._signal": "comes of a script that has become another user's",
    "_LoopErrors.__call__": "comes of a server without open files: see test_open_files.py",
    "Store._checkpoint": "comes of a system without memory: see test_broken_history.py",
    "end_processes_of": "comes of processes that even SIGKILL does not end",
}
"""Functions with a message that no case provokes, and why none does."""

NO_END = "ends neither with a full stop nor with an instruction"
NOT_YET_MENDED: dict[str, str] = {}
"""Messages known to be wrong, and what is wrong with each."""


@dataclass(frozen=True)
class Provoked:
    """What came of provoking everything.

    Attributes:
        messages: Every message, by a name that says how it was provoked.
        lines: The lines of the source that were run meanwhile.
    """

    messages: dict[str, Message]
    lines: set[Line]


@pytest.fixture(scope="module")
def provoked(tmp_path_factory: pytest.TempPathFactory) -> Provoked:
    """Provoke every message, once for all tests."""
    with lines_run(MODULES) as lines:
        messages = {
            **input_messages(),
            **client_messages(),
            **command_line_messages(tmp_path_factory.mktemp("command-line")),
            **runner_messages(tmp_path_factory.mktemp("runner")),
            **shortage_messages(tmp_path_factory.mktemp("shortage")),
        }
    return Provoked(messages, lines)


def test_every_message_can_be_understood(provoked: Provoked) -> None:
    """Not empty, no inside of the program, names what it is about, says what to do, no secret."""
    wrong = [
        f"{name}: {problem}: {message.text}"
        for name, message in provoked.messages.items()
        for problem in problems_of(message)
        if NOT_YET_MENDED.get(name) != problem
    ]

    assert not wrong, "\n".join(wrong)


def test_what_is_listed_as_wrong_is_still_wrong(provoked: Provoked) -> None:
    mended = {
        name
        for name, problem in NOT_YET_MENDED.items()
        if problem not in problems_of(provoked.messages[name])
    }

    assert not mended, f"take out of NOT_YET_MENDED what is mended: {sorted(mended)}"


def test_every_place_that_makes_a_message_is_provoked(provoked: Provoked) -> None:
    missed = [site for site in sites_of(MODULES) if not site.was_run(provoked.lines)]

    unknown = [str(site) for site in missed if site.function not in NOT_PROVOKED]
    assert not unknown, "\n".join(
        [
            "No case provokes these messages. Add one to the *_messages.py of tests/docs that is",
            "about them or, where that cannot be done, list the function in NOT_PROVOKED with the",
            "reason:",
            *unknown,
        ]
    )
    assert {site.function for site in missed} == set(NOT_PROVOKED), "take out what is provoked"


def test_a_place_that_makes_a_message_is_found(tmp_path: Path) -> None:
    """The search itself: without it the test above would be content with anything."""
    assert {site.function for site in sites_of(MODULES)} >= {
        "text",
        "checked_url",
        "FailedCall.without_answer",
        "wait_for_job",
        "RunnerLog.page",
        "warn_if_cut",
        "Guard._check_host",
        "load",
        "start",
    }
    never_run = Site(str(tmp_path), 1, 2, "f", "raise ValueError('x')")
    assert not never_run.was_run({(str(tmp_path), 3)})
    assert never_run.was_run({(str(tmp_path), 2)})


QUOTED = {
    "InvalidInput": "a negative offset",
    "RunnerUnreachable": "get_job: refused",
    "RequestTimedOut": "a wait that is over",
    "RequestRejected": "runScript-400-script-not-found",
    "InvalidResponse": "get_job: HTML",
}
"""Which case gives the message that docs/errors.md quotes of each class."""


@pytest.mark.parametrize("error", QUOTED)
def test_a_message_quoted_in_the_documents_is_what_comes(provoked: Provoked, error: str) -> None:
    prose = section_of(ROOT / "docs" / "errors.md", error).prose
    quoted = re.search(r"^\*Message:\* `(.+)`$", prose, re.MULTILINE)
    assert quoted is not None

    came = provoked.messages[QUOTED[error]].text
    assert without_details(quoted[1]) == without_details(came)


def without_details(text: str) -> str:
    """A message without what is another each time: port, system, script, seconds, end of a body."""
    for pattern, instead in (
        (r"(127\.0\.0\.1|host\.docker\.internal):\d+", r"\1:PORT"),
        (r"\[Errno \d+\]", "[Errno]"),
        (r"after \d+ s", "after SECONDS"),
        (r"script not found: \w+", "script not found: SCRIPT"),
        (r'(<!doctype html>)[^"]*…', r"\1…"),
    ):
        text = re.sub(pattern, instead, text)
    return text


def test_the_example_that_a_missing_configuration_points_to_is_there(provoked: Provoked) -> None:
    text = provoked.messages["config.json: missing"].text

    named = re.findall(r"examples/[\w./]*", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []
