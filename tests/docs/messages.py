"""A message as a person reads it, and what can be wrong with one."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from script_runner import ScriptRunnerError

CREDENTIAL = "s3cret-0f-nobody"
"""The password in the URLs and the token of the runner of these tests; no message may have it."""

MOST_CHARACTERS = 800
"""The longest message: a request and an answer, of each of which at most 200 are shown."""

_INSTRUCTIONS = (
    "add", "ask", "call", "check", "choose", "correct", "list", "listen", "look", "move",
    "name", "pass", "put", "remove", "run", "say", "see", "send", "set", "start", "stop", "try",
    "use", "wait", "write",
)  # fmt: skip
"""The words that a clause begins with which says what to do."""

_WANTED = r"\b(must|may|needs|should|max|at most|at least)\b|such as"
"""The words of a clause that says what is wanted instead."""

_CLAUSE = re.compile(r"[:;,] (?:or )?|\. ")


@dataclass(frozen=True)
class Message:
    """A message that was provoked.

    Attributes:
        text: All of it.
        names: What it must name: what was asked, or which key or input is meant.
        ends_with_a_reason: Whether it may end with the words of the system or of a parser, which
            we do not write.
        is_a_page: Whether it may have several lines, as the help of a command has.
    """

    text: str
    names: tuple[str, ...]
    ends_with_a_reason: bool = False
    is_a_page: bool = False


Named = Iterator[tuple[str, Message]]
"""Messages, each with a name that says how it was provoked."""


def problems_of(message: Message) -> Iterator[str]:
    """What is wrong with a message, in words."""
    text = message.text.strip()
    if len(text.split()) < 3:
        yield "is empty or a bare name"
    if not re.match(r"(… )?[\w/'\"<(]", text):
        yield "does not begin with a word"
    if "\n" in text and not message.is_a_page:
        yield "has several lines"
    if len(text) > MOST_CHARACTERS and not message.is_a_page:
        yield "is too long"
    if re.search(r"Traceback|<class | object at 0x|\bNone\b|\{\w+\}", text):
        yield "shows the inside of the program"
    if re.search(r"\.\.( |$)| \.|:\s*$|: \.|  ", text) and not message.is_a_page:
        yield "is put together wrongly"
    if "stays queued" in text and "try again" in text.lower():
        yield "tells to repeat what was accepted"
    if CREDENTIAL in text:
        yield "shows a credential"
    for name in message.names:
        if name not in text:
            yield f"does not name {name}"
    if not (message.ends_with_a_reason or message.is_a_page or _ends_well(text)):
        yield "ends neither with a full stop nor with an instruction"


def _ends_well(text: str) -> bool:
    if text.endswith((".", "?")):
        return True
    _, *clauses = _CLAUSE.split(text)
    return bool(re.search(_WANTED, text)) or any(
        clause.split(" ")[0] in _INSTRUCTIONS for clause in clauses
    )


def said_by(call: Callable[..., object], *arguments: object, **options: Any) -> str:
    """What the error says that a call raises."""
    with pytest.raises(ScriptRunnerError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def with_credential(url: str) -> str:
    """A URL with a password that no message may have."""
    return url.replace("://", f"://any:{CREDENTIAL}@")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
