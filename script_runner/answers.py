"""What is said of an answer that is no answer of the API: why not, and how it begins."""

from __future__ import annotations

import httpx

from generated_client.errors import UnexpectedStatus
from generated_client.models import Error
from script_runner.limits import MAX_ANSWER_BYTES, AnswerTooLarge
from script_runner.redaction import Redaction
from script_runner.validation import check_types

SHOWN_BODY_CHARACTERS = 200
"""How much of an answer that makes no sense an error shows."""

UNUSABLE = (
    # What the generated client and `check_types` raise for a body that is not as described ...
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    # ... or is nested too deep,
    RecursionError,
    # and what is raised before the body is looked at.
    AnswerTooLarge,
    UnexpectedStatus,
    httpx.DecodingError,
)
"""What a call raises for an answer that is no answer of the API."""


def why_unusable(failure: Exception, response: httpx.Response, hide: Redaction) -> str:
    """Why an answer cannot be used, as the end of a sentence.

    Args:
        failure: One of `UNUSABLE`.
        response: The answer, perhaps not read to its end.
        hide: Takes the credentials out of what the answer says.
    """
    match failure:
        case AnswerTooLarge():
            return f"is larger than {MAX_ANSWER_BYTES / 2**20:g} MiB"
        case UnexpectedStatus():
            return "is not an answer of script-runner"
        case httpx.DecodingError():
            packing = one_line(hide(response.headers.get("Content-Encoding", "text")))
            return f"is not the {packing} it says it is"
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(body, dict):
        return "is not a JSON object"
    if isinstance(failure, KeyError):
        return f"lacks the field {failure.args[0]}"
    return f"is not as described: {one_line(hide(str(failure)))}"


def error_of(response: httpx.Response, hide: Redaction) -> tuple[str | None, str | None]:
    """The code and message of an `Error` body without credentials, None for any other body."""
    try:
        error = Error.from_dict(response.json())
        check_types(error)
    except (*UNUSABLE, httpx.ResponseNotRead):
        return None, None
    return hide(error.error.code), hide(error.error.message)


def start_of(response: httpx.Response, hide: Redaction) -> str:
    """The start of a body for a message, on one line, without credentials."""
    try:
        # Not `text`: the charset an answer names may be any codec.
        shown = one_line(hide.start(response.content, SHOWN_BODY_CHARACTERS * 8))
    except httpx.ResponseNotRead:
        return ""
    return f' ("{shown.rstrip(".")}")' if shown else " (empty)"


def one_line(text: str) -> str:
    """A text of somebody else as a part of a sentence: on one line, and not long."""
    line = " ".join(text.split())
    shown = line[:SHOWN_BODY_CHARACTERS]
    return f"{shown}…" if len(line) > len(shown) else line
