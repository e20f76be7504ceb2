"""The error for a call that failed: what was asked, what came back, what to do next."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from generated_client.errors import UnexpectedStatus
from generated_client.models import Error
from script_runner._address import Address
from script_runner._exchange import Exchange, NotHttp, ResponseTooLarge
from script_runner._redaction import Redaction
from script_runner._settings import CONTAINER_HOST
from script_runner._validation import check_types
from script_runner.errors import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
)

SHOWN_TARGET_CHARACTERS = 300
"""How much of a path an error shows; a job id may be any string."""

SHOWN_BODY_CHARACTERS = 200
"""How much of a response that makes no sense an error shows."""

FAILURES = (
    # What the generated client and `check_response` raise for a body that is not as described ...
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    # ... or is nested too deep,
    RecursionError,
    # and what is raised before the body is looked at.
    UnexpectedStatus,
    httpx.InvalidURL,
    httpx.RequestError,
)
"""What a call raises when it fails."""


@dataclass(frozen=True)
class Hints:
    """What the last sentence of a message tells its reader to use; blocks have words of their own.

    Attributes:
        url: What the URL of the runner is called by who gives it.
        long_script: What to use in place of a sync run that takes too long.
        go_on: What can be done with a job that has not ended when a wait is over.
        token: How the runner's token is given; a sentence.
    """

    url: str
    long_script: str
    go_on: str
    token: str


PYTHON_HINTS = Hints(
    url="url",
    long_script="use start() and wait()",
    go_on="wait again with a longer timeout, look at it with status(), or end it with cancel()",
    token="Pass the runner's token: token=TOKEN, or http://any:TOKEN@HOST:PORT.",
)
"""What is said to those who use the library."""

_BY_CODE = {
    "SCRIPT_NOT_FOUND": "Script ids are those of the runner's scripts.json.",
    "INVALID_ARGS": "Which arguments a script takes is written in the runner's scripts.json.",
    "JOB_NOT_FOUND": "The runner may have forgotten an old job, or this is another runner's job.",
    "NOT_FOUND": "Is this the URL of a script-runner, with nothing missing or added?",
    "BODY_TOO_LARGE": "Pass large data in a file, not in arguments.",
    # Its own sentence says whether to try again: a queued job must not be run twice.
    "UNAVAILABLE": "",
}

_NO_TLS = "What listens there does not speak TLS. A local runner does not: use http:// in its URL."
_TLS_HINTS = {
    "[SSL: WRONG_VERSION_NUMBER": _NO_TLS,
    # What newer versions of OpenSSL call the same.
    "[SSL: RECORD_LAYER_FAILURE": _NO_TLS,
    "[SSL: CERTIFICATE_VERIFY_FAILED": "If you trust it, set SSL_CERT_FILE to a file with its "
    "certificate, or that of its authority.",
}
"""What to do if TLS fails, by the beginning of what OpenSSL says."""

_IS_IT = "Is this the URL of a script-runner?"

_MAY_RUN = "The script may have been started: look at the runner's jobs before you run it again."

_FROM_PROXIES = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
    # Cloudflare has its own for the same: 524 after 100 s.
    | set(range(520, 531))
)
"""What a proxy responds when it has lost the runner, or is tired of waiting for it."""


@dataclass(frozen=True)
class FailedCall:
    """A call that failed. Whatever its messages show of others is shown through `hide`.

    Attributes:
        address: Where the runner is.
        hints: What to tell the reader to use.
        hide: Takes out the credentials that were sent.
        exchange: What was asked and what came.
        seconds: The timeout of the call.
        connect_seconds: The timeout for a connection.
        script_id: The script that was to be run; None if none was.
    """

    address: Address
    hints: Hints
    hide: Redaction
    exchange: Exchange
    seconds: float
    connect_seconds: float
    script_id: str | None

    def explained(self, failure: Exception) -> Exception:
        """The error to raise for one of `FAILURES`; the same one if the call itself is wrong."""
        if isinstance(failure, httpx.TransportError):
            return self._without_response(failure)
        status = self.exchange.status
        if status is None:
            return self._unsendable(failure)
        if status >= HTTPStatus.BAD_REQUEST:
            return self._rejected(status)
        hint = _IS_IT
        if status in range(300, 400):
            hint = "Redirects are not followed: use the URL that responds itself."
        return InvalidResponse(
            f"{self._asked}: response {status} {self._why_unusable(failure)}{self._start_of_body}. "
            f"{hint}"
        )

    @property
    def _is_run(self) -> bool:
        return self.script_id is not None

    @property
    def _asked(self) -> str:
        request = self.exchange.request
        if request is None:
            return f"calling script-runner at {self.address.shown}"
        target = self.hide.start(request.url.raw_path, SHOWN_TARGET_CHARACTERS)
        cut = "…" if len(request.url.raw_path) > SHOWN_TARGET_CHARACTERS else ""
        return f"{request.method} {target}{cut} at {self.address.shown}{self.address.way}"

    def _without_response(self, failure: httpx.TransportError) -> ScriptRunnerError:
        said = one_line(self.hide(str(failure)))
        cause = f"{type(failure).__name__}: {said}" if said else type(failure).__name__
        match failure:
            case httpx.ConnectError() | httpx.ProxyError() | httpx.UnsupportedProtocol():
                hint = _TLS_HINTS.get(said.partition("]")[0], self._hint_for_unreachable)
                return RunnerUnreachable(f"{self._asked}: no connection ({cause}). {hint}")
            case httpx.ConnectTimeout():
                return RunnerUnreachable(
                    f"{self._asked}: no connection within "
                    f"{min(self.seconds, self.connect_seconds):g} s. {self._hint_for_unreachable}"
                )
            case httpx.TimeoutException():
                return RequestTimedOut(
                    f"{self._asked}: no whole response within {self.seconds:g} s. "
                    f"{self._hint_for_timeout}"
                )
            case NotHttp():
                return InvalidResponse(
                    f"{self._asked}: what came is not an HTTP response "
                    f"(RemoteProtocolError: {said}). {_IS_IT}"
                )
            case _ if self.exchange.status is None:
                return RunnerUnreachable(
                    f"{self._asked}: the connection was lost before a response came ({cause}). "
                    f"{self._hint_for_lost}"
                )
            case _:
                return InvalidResponse(
                    f"{self._asked}: response {self.exchange.status} was cut off ({cause}). "
                    f"{self._hint_for_lost}"
                )

    def _unsendable(self, failure: Exception) -> Exception:
        if isinstance(failure, ValueError | httpx.InvalidURL):
            return InvalidInput(
                f"{self._asked}: this cannot be sent ({self.hide(str(failure))}). Check the inputs."
            )
        # An operation called with arguments that it does not have.
        return failure

    def _rejected(self, status: int) -> RequestRejected:
        """The error for an HTTP error, with the runner's code and message if it gave them."""
        code, message = self._error_of_runner()
        sentence = one_line(message or "").rstrip(".")
        said = (
            f"{status} {one_line(code)}{': ' if sentence else ''}{sentence}"
            if code
            else f"{status} no error of script-runner{self._start_of_body}"
        )
        hint = self._hint_for_rejection(status, code)
        return RequestRejected(
            f"{self._asked}: {said}. {hint}".rstrip(),
            status_code=status,
            code=code,
            message=message,
        )

    def _error_of_runner(self) -> tuple[str | None, str | None]:
        """The code and message of an `Error` body without credentials, None for any other body."""
        try:
            error = Error.from_dict(json.loads(self.exchange.body or b""))
            check_types(error)
        except FAILURES:
            return None, None
        return self.hide(error.error.code), self.hide(error.error.message)

    # -- the response

    def _why_unusable(self, failure: Exception) -> str:
        """Why a response cannot be used, as the end of a sentence."""
        match failure:
            case ResponseTooLarge():
                return f"is larger than {self.exchange.max_bytes / 2**20:g} MiB"
            case UnexpectedStatus():
                return "is not a response of script-runner"
            case httpx.DecodingError():
                headers = self.exchange.headers or httpx.Headers()
                packing = one_line(self.hide(headers.get("Content-Encoding", "text")))
                return f"is not the {packing} it says it is"
        try:
            body = json.loads(self.exchange.body or b"")
        except (ValueError, RecursionError):
            return "is not JSON"
        if not isinstance(body, dict):
            return "is not a JSON object"
        if isinstance(failure, KeyError):
            return f"lacks the field {failure.args[0]}"
        return f"is not as described: {one_line(self.hide(str(failure)))}"

    @property
    def _start_of_body(self) -> str:
        """The start of the body for a message, on one line, without credentials."""
        if self.exchange.body is None:
            return ""
        # Not by its charset, which may be any codec.
        shown = one_line(self.hide.start(self.exchange.body, SHOWN_BODY_CHARACTERS * 8))
        return f' ("{shown.rstrip(".")}")' if shown else " (empty)"

    # -- what to do next

    @property
    def _hint_for_unreachable(self) -> str:
        running = "Is script-runner running there?"
        if not self.address.is_this_machine:
            return running
        url = self.address.url
        port = url.port or (443 if url.scheme == "https" else 80)
        return f"{running} Inside a container use {url.scheme}://{CONTAINER_HOST}:{port}."

    @property
    def _hint_for_lost(self) -> str:
        return _MAY_RUN if self._is_run else "Did the runner stop or restart? Try again."

    @property
    def _hint_for_timeout(self) -> str:
        if self.script_id is None:
            return "Is the machine of the runner overloaded, or something else listening there?"
        return (
            f"The script may still be running: find the newest job of {one_line(self.script_id)} "
            "with `scriptctl jobs`, on the runner's page or in its jobs.json. For a long script "
            f"{self.hints.long_script}."
        )

    def _hint_for_rejection(self, status: int, code: str | None) -> str:
        if code == "UNAUTHORIZED" or (code is None and status == HTTPStatus.UNAUTHORIZED):
            return self.hints.token
        if code == "INVALID_ARGS" and not self._is_run:
            return ""  # a parameter of a list, which the runner's own sentence explains
        if code is not None:
            return _BY_CODE.get(code, "The runner's own log says more." if status >= 500 else "")
        if self._is_run and status in _FROM_PROXIES:
            return _MAY_RUN
        match status:
            case HTTPStatus.NOT_FOUND:
                return _BY_CODE["NOT_FOUND"]
            case HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                return "The proxy of the environment (HTTP_PROXY) wants credentials."
            case _ if status in _FROM_PROXIES:
                return "A proxy lost the runner behind it: is it running? Try again."
        return "This came from something other than script-runner: check the URL."


def one_line(text: str) -> str:
    """A text of somebody else as a part of a sentence: on one line, and not long."""
    line = " ".join(text.split())
    shown = line[:SHOWN_BODY_CHARACTERS]
    return f"{shown}…" if len(line) > len(shown) else line
