"""What is said of an answer that is no answer of the API: why not, and how it begins."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from generated_client.errors import UnexpectedStatus
from generated_client.models import Error
from script_runner.limits import MAX_ANSWER_BYTES, AnswerTooLarge
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


def why_unusable(failure: Exception, response: httpx.Response) -> str:
    """Why an answer cannot be used, as the end of a sentence.

    Args:
        failure: One of `UNUSABLE`.
        response: The answer, perhaps not read to its end.
    """
    match failure:
        case AnswerTooLarge():
            return f"is larger than {MAX_ANSWER_BYTES / 2**20:g} MiB"
        case UnexpectedStatus():
            return "is not an answer of script-runner"
        case httpx.DecodingError():
            return f"is not the {response.headers.get('Content-Encoding')} it says it is"
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(body, dict):
        return "is not a JSON object"
    if isinstance(failure, KeyError):
        return f"lacks the field {failure.args[0]}"
    return f"is not as described: {failure}"


def error_of(
    response: httpx.Response, secrets: Sequence[str] = ()
) -> tuple[str | None, str | None]:
    """The code and message of an `Error` body without these secrets, None for any other body."""
    try:
        error = Error.from_dict(response.json())
        check_types(error)
    except (*UNUSABLE, httpx.ResponseNotRead):
        return None, None
    return _without(error.error.code, secrets), _without(error.error.message, secrets)


def start_of(response: httpx.Response, secrets: Sequence[str] = ()) -> str:
    """The start of a body for a message, on one line, without these secrets."""
    try:
        # At most four bytes a character. Not `text`: the charset an answer names may be any codec.
        start = response.content[: SHOWN_BODY_CHARACTERS * 8].decode("utf-8", "replace")
    except httpx.ResponseNotRead:
        return ""
    shown = one_line(_without(start, secrets))
    return f' ("{shown}")' if shown else " (empty)"


def _without(text: str, secrets: Sequence[str]) -> str:
    """A text without what somebody repeats in it of the credentials that were sent to him."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def one_line(text: str) -> str:
    """A text of somebody else as a part of a sentence: one line, not long, without a full stop."""
    line = " ".join(text.split())
    shown = line[:SHOWN_BODY_CHARACTERS]
    return f"{shown}…" if len(line) > len(shown) else line.rstrip(".")
