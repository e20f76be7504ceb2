"""One try of a block against a server: what came of it, and that it shows no credential."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import re
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from script_runner import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
    Settings,
    WaitTimedOut,
)
from script_runner.oomol import connect
from tests.support import block_runner
from tests.support.block_runner import RecordingContext, run_block

USER, PASSWORD = "anyone-at-all", "s3cret/pass"
CREDENTIALS = "anyone-at-all:s3cret%2Fpass"
HEADER = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = ("s3cret", HEADER[:8], HEADER.rstrip("=")[-8:])
"""What must not be seen: the password in any form, and the header that is made of it, or a part of
them. The user name beside a password is no secret."""

MAY_RUN = "The script may have been started: look at the runner's jobs before you run it again."
STILL_RUNNING = (
    "The script may still be running: find the newest job of quick-echo with `scriptctl jobs`, on "
    "the runner's page or in its jobs.json. For a long script use run-script-async and "
    "wait-for-job."
)
TRY_AGAIN = "Did the runner stop or restart? Try again."
OVERLOADED = "Is the machine of the runner overloaded, or something else listening there?"
IS_IT = "Is this the URL of a script-runner?"
REDIRECT = "Redirects are not followed: use the URL that responds itself."

PRODUCT_ERRORS = frozenset(
    {
        InvalidInput,
        InvalidResponse,
        RequestRejected,
        RequestTimedOut,
        RunnerUnreachable,
        WaitTimedOut,
    }
)

settings = Settings()
"""The times and limits of the runners that attempts connect to; fixtures change them."""


@dataclass
class Attempt:
    """What came of running a block once.

    Attributes:
        block: Its name.
        outputs: What it returned, None where it raised.
        error: What it raised, None where it returned.
        seconds: How long it took.
        context: What it showed.
    """

    block: str
    outputs: dict[str, Any] | None = None
    error: ScriptRunnerError | None = None
    seconds: float = 0.0
    context: RecordingContext = field(default_factory=RecordingContext)

    def failed(self, error: type[ScriptRunnerError], line: str, said: str, hint: str) -> None:
        """Check the error: its class, what was asked, what came back (a pattern), the next step."""
        assert type(self.error) is error, (self.outputs, self.error)
        pattern = rf"{re.escape(line)}: {said}\. {re.escape(hint)}"
        assert re.fullmatch(pattern, str(self.error), re.DOTALL), (pattern, str(self.error))


def with_credentials(url: str) -> str:
    """The URL of a server with credentials in it."""
    return url.replace("://", f"://{CREDENTIALS}@")


def attempt(block: str, url: str, /, **inputs: object) -> Attempt:
    """Run a block against a URL, to which credentials are added; see `attempt_with`."""
    return attempt_with(block, {"script_runner_url": with_credentials(url), **inputs})


def attempt_with(block: str, inputs: Mapping[str, object]) -> Attempt:
    """Run a block with these inputs.

    Whatever comes of it, outputs and error are those of the product and show no credential.
    """
    tried = Attempt(block)
    with shown_text() as shown:
        with contextlib.suppress(InvalidInput):
            connect(inputs, settings=settings)
        begun = time.monotonic()
        try:
            tried.outputs = run_block(block, tried.context, **inputs)
        except ScriptRunnerError as error:
            tried.error = error
        tried.seconds = time.monotonic() - begun
    check_outcome(tried, shown.getvalue())
    return tried


@contextmanager
def shown_text() -> Iterator[io.StringIO]:
    """Collect all that is logged, by any library at any level, and warned of."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True, action="always") as caught:
            yield shown
        shown.writelines(str(warning) for warning in caught)
        assert not caught, [str(warning) for warning in caught]
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def check_outcome(tried: Attempt, shown: str) -> None:
    """Check what holds of every attempt."""
    if tried.outputs is not None:
        assert_declared_types(tried.block, tried.outputs)
        assert_no_secret(repr(tried.outputs))
    if tried.error is not None:
        assert type(tried.error) in PRODUCT_ERRORS
        assert_no_secret(shown_by(tried.error))
    assert_no_secret(repr(tried.context))
    assert_no_secret(shown)


def assert_no_secret(text: str) -> None:
    """Check that a text has no part of the credentials in it."""
    assert not [secret for secret in SECRETS if secret in text], text


def shown_by(error: BaseException) -> str:
    """Whatever can be seen of an error, also of those that it came from and does not name."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        # The job of a wait that is over is what the runner said, as it is.
        said = {name: value for name, value in vars(cause).items() if name != "job"}
        texts += [str(cause), repr(cause), repr(said), repr(cause.args)]
        texts += traceback.format_exception(cause)
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


def assert_declared_types(block: str, outputs: dict[str, Any]) -> None:
    """Check that each output has the type that the manifest declares."""
    for definition in block_runner.manifest(block)["outputs_def"]:
        value = outputs[definition["handle"]]
        if value is None:
            assert definition.get("nullable"), definition
        else:
            assert has_type(value, definition["json_schema"]), (definition, value)


def has_type(value: object, schema: dict[str, Any]) -> bool:
    """Whether a value is of a JSON type, and can be written as UTF-8."""
    match schema["type"]:
        case "boolean":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str) and value.encode() is not None
        case "array":
            return isinstance(value, list) and all(
                has_type(item, schema["items"]) for item in value
            )
    raise AssertionError(schema)
