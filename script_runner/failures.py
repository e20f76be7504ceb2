"""The error for a call that failed: what was asked, what came back, what to do next."""

from __future__ import annotations

import http
from dataclasses import dataclass

import httpcore
import httpx

from script_runner.answers import error_of, one_line, start_of, why_unusable
from script_runner.errors import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
)
from script_runner.hints import (
    hint_for_lost,
    hint_for_rejection,
    hint_for_timeout,
    hint_for_unreachable,
    hint_for_unusable,
)
from script_runner.redaction import Redaction
from script_runner.transport import CONNECT_SECONDS, Exchange

SHOWN_TARGET_CHARACTERS = 300
"""How much of a path an error shows; a job id may be any text."""


@dataclass(frozen=True)
class FailedCall:
    """A call that failed. Whatever its messages show of others is shown through `hide`.

    Attributes:
        url: The URL of the runner, without credentials.
        way: How it was reached, where not directly; as the end of a sentence.
        exchange: What was asked and what came; None where nothing was sent.
        hide: Takes out the credentials that were sent.
    """

    url: str
    way: str
    exchange: Exchange | None
    hide: Redaction

    @property
    def _response(self) -> httpx.Response | None:
        return None if self.exchange is None else self.exchange.response

    @property
    def _asked(self) -> str:
        if self.exchange is None:
            return f"calling script-runner at {self.url}"
        target = self.hide.start(self.exchange.target.encode(), SHOWN_TARGET_CHARACTERS)
        cut = "…" if len(self.exchange.target) > SHOWN_TARGET_CHARACTERS else ""
        return f"{self.exchange.method} {target}{cut} at {self.url}{self.way}"

    def without_answer(self, failure: Exception, seconds: float) -> ScriptRunnerError:
        """The error for a call that ended without a whole answer.

        Args:
            failure: One of `CALL_FAILURES`.
            seconds: The time limit of the call.
        """
        said, response = one_line(self.hide(str(failure))), self._response
        cause = f"{type(failure).__name__}: {said}" if said else type(failure).__name__
        match failure:
            case httpcore.ConnectError() | httpcore.ProxyError() | httpcore.UnsupportedProtocol():
                return RunnerUnreachable(
                    f"{self._asked}: no connection ({cause}). {hint_for_unreachable(self.url)}"
                )
            case httpcore.ConnectTimeout():
                return RunnerUnreachable(
                    f"{self._asked}: no connection within {min(seconds, CONNECT_SECONDS):g} s. "
                    f"{hint_for_unreachable(self.url)}"
                )
            case httpcore.TimeoutException():
                return RequestTimedOut(
                    f"{self._asked}: no whole answer within {seconds:g} s. "
                    f"{hint_for_timeout(self.exchange)}"
                )
            case httpcore.RemoteProtocolError(args=(Exception(), *_)) if response is None:
                # Made of an error of the parser; for a connection that was closed, of a text.
                return InvalidResponse(
                    f"{self._asked}: what came is no HTTP answer ({cause}). {hint_for_unusable()}"
                )
            case _ if response is None:
                return RunnerUnreachable(
                    f"{self._asked}: the connection was lost before an answer came ({cause}). "
                    f"{hint_for_lost(self.exchange)}"
                )
            case _:
                return InvalidResponse(
                    f"{self._asked}: answer {response.status_code} was cut off ({cause}). "
                    f"{hint_for_lost(self.exchange)}"
                )

    def unusable(self, failure: Exception) -> Exception:
        """The error for an answer that is not one of the API, or for a request that is none.

        Args:
            failure: One of `UNUSABLE`.
        """
        response = self._response
        if response is None:
            return self._unsendable(failure)
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            return self.rejected(response)
        return InvalidResponse(
            f"{self._asked}: answer {response.status_code} "
            f"{why_unusable(failure, response, self.hide)}{start_of(response, self.hide)}. "
            f"{hint_for_unusable(response.status_code)}"
        )

    def _unsendable(self, failure: Exception) -> Exception:
        if isinstance(failure, ValueError | httpx.InvalidURL):
            return InvalidInput(
                f"{self._asked}: this cannot be sent ({failure}). Check the inputs."
            )
        # An operation called with arguments that it does not have.
        return failure

    def rejected(self, response: httpx.Response) -> RequestRejected:
        """The error for an HTTP error, with the runner's code and message where it gave them."""
        code, message = error_of(response, self.hide)
        status = response.status_code
        sentence = one_line(message or "").rstrip(".")
        said = (
            f"{status} {one_line(code)}{': ' if sentence else ''}{sentence}"
            if code
            else f"{status} no error of script-runner{start_of(response, self.hide)}"
        )
        hint = hint_for_rejection(status, code)
        return RequestRejected(
            f"{self._asked}: {said}. {hint}".rstrip(),
            status_code=status,
            code=code,
            message=message,
        )
