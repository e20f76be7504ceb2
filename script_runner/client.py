"""`connect`, and the one way in which every operation of the API is called."""

from __future__ import annotations

import functools
import http
import threading
from collections.abc import Callable
from typing import Any, NoReturn, Protocol, TypeVar, cast, overload

import httpcore
import httpx

from generated_client import Client
from generated_client.models import Error
from generated_client.types import Response
from script_runner.address import checked_url, secrets_of
from script_runner.answers import UNUSABLE, error_of, one_line, start_of, why_unusable
from script_runner.errors import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
)
from script_runner.hints import (
    hint_for_lost,
    hint_for_rejection,
    hint_for_timeout,
    hint_for_unreachable,
    hint_for_unusable,
)
from script_runner.inputs import DEFAULT_URL
from script_runner.limits import time_limit
from script_runner.transport import (
    ANSWER_SECONDS,
    CALL_FAILURES,
    CONNECT_SECONDS,
    Transport,
)
from script_runner.validation import check_types

MAX_RUNNERS = 32
"""The most base URLs whose connections are kept; the one longest unused goes first."""

SHOWN_TARGET_CHARACTERS = 300
"""How much of a path an error shows; a job id may be any text."""

AnswerT = TypeVar("AnswerT")
KindT = TypeVar("KindT")


class Operation(Protocol[AnswerT]):
    """A module of `generated_client.api.jobs`, such as `get_job`."""

    @property
    def sync_detailed(self) -> Callable[..., Response[Error | AnswerT]]:
        """The generated function that calls the operation."""


class AnyOperation(Protocol):
    """An operation that has answers of several kinds, such as `run_script`."""

    @property
    def sync_detailed(self) -> Callable[..., Response[Any]]:
        """The generated function that calls the operation."""


class Runner:
    """A script-runner at one URL, with connections that stay open between calls.

    Safe to use from many threads at once. Make one with `connect`.

    Attributes:
        url: Where it is, without credentials.
    """

    def __init__(self, base_url: httpx.URL) -> None:
        """Prepare the client; nothing is sent.

        Args:
            base_url: A checked URL, with credentials or without.

        Raises:
            InvalidInput: See `Transport`.
        """
        self.url = str(base_url.copy_with(userinfo=b"")).rstrip("/")
        self._secrets = secrets_of(base_url)
        self._transport = Transport(base_url)
        self._way = f" through the proxy {self._transport.proxy}" if self._transport.proxy else ""
        client = Client(base_url=self.url, raise_on_unexpected_status=True)
        self._client = client.set_httpx_client(cast(httpx.Client, self._transport))

    def __repr__(self) -> str:
        """The URL, without credentials."""
        return f"Runner({self.url!r})"

    @overload
    def call(
        self, operation: Operation[AnswerT], *arguments: object, **options: Any
    ) -> AnswerT: ...

    @overload
    def call(
        self, operation: AnyOperation, *arguments: object, returns: type[KindT], **options: Any
    ) -> KindT: ...

    def call(
        self,
        operation: AnyOperation,
        *arguments: object,
        returns: type[Any] | None = None,
        time_limit_seconds: float = ANSWER_SECONDS,
        **options: Any,
    ) -> Any:
        """Call an operation of the API once; it is never repeated.

        Args:
            operation: A module of `generated_client.api.jobs`: `run_script`, `get_job`,
                `get_job_logs` or `cancel_job`.
            arguments: What the operation takes by position, such as the job id.
            returns: The model wanted, for an operation that has several.
            time_limit_seconds: How long the whole of the call may take.
            options: What the operation takes by name, such as `body`.

        Returns:
            The answer, a model of `generated_client.models`, each field of its type.

        Raises:
            InvalidInput: If the arguments cannot be sent, for instance not be written as UTF-8.
            RunnerUnreachable: If no answer came.
            RequestTimedOut: If the answer was not whole within the time limit.
            RequestRejected: If the answer was an HTTP error.
            InvalidResponse: If the answer was not one of the API, or not of the wanted kind.
        """
        try:
            with time_limit(time_limit_seconds):
                parsed = operation.sync_detailed(*arguments, client=self._client, **options).parsed
            if isinstance(parsed, Error):
                self._raise_rejected()
            if returns is not None and type(parsed) is not returns:
                raise TypeError(f"{type(parsed).__name__} came where {returns.__name__} was wanted")
            check_types(parsed)
        except CALL_FAILURES as failure:
            self._raise_failure(failure, time_limit_seconds)
        except (httpx.InvalidURL, *UNUSABLE) as failure:
            self._raise_unusable(failure)
        finally:
            self._transport.forget_exchange()
        return parsed

    @property
    def _answer(self) -> httpx.Response | None:
        """The answer to the call of this thread, as far as it came."""
        exchange = self._transport.exchange
        return None if exchange is None else exchange.response

    def _asked(self) -> str:
        exchange = self._transport.exchange
        if exchange is None:
            return f"calling script-runner at {self.url}"
        target = exchange.target[:SHOWN_TARGET_CHARACTERS]
        cut = "…" if len(exchange.target) > len(target) else ""
        return f"{exchange.method} {target}{cut} at {self.url}{self._way}"

    def _raise_failure(self, failure: Exception, seconds: float) -> NoReturn:
        """The error for a call that ended without a whole answer."""
        exchange, response = self._transport.exchange, self._answer
        cause = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        match failure:
            case httpcore.ConnectError() | httpcore.ProxyError() | httpcore.UnsupportedProtocol():
                error: Exception = RunnerUnreachable(
                    f"{self._asked()}: no connection ({cause}). {hint_for_unreachable(self.url)}"
                )
            case httpcore.ConnectTimeout():
                error = RunnerUnreachable(
                    f"{self._asked()}: no connection within {min(seconds, CONNECT_SECONDS):g} s. "
                    f"{hint_for_unreachable(self.url)}"
                )
            case httpcore.TimeoutException():
                error = RequestTimedOut(
                    f"{self._asked()}: no whole answer within {seconds:g} s. "
                    f"{hint_for_timeout(exchange)}"
                )
            case httpcore.RemoteProtocolError(args=(Exception(), *_)) if response is None:
                # Made of an error of the parser; for a connection that was closed, of a text.
                error = InvalidResponse(
                    f"{self._asked()}: what came is no HTTP answer ({cause}). {hint_for_unusable()}"
                )
            case _ if response is None:
                error = RunnerUnreachable(
                    f"{self._asked()}: the connection was lost before an answer came ({cause}). "
                    f"{hint_for_lost(exchange)}"
                )
            case _:
                error = InvalidResponse(
                    f"{self._asked()}: answer {response.status_code} was cut off ({cause}). "
                    f"{hint_for_lost(exchange)}"
                )
        # The message says what went wrong; the traceback of the HTTP library would bury it.
        raise error from None

    def _raise_unsendable(self, failure: Exception) -> NoReturn:
        """The error for a request that could not be made."""
        if isinstance(failure, ValueError | httpx.InvalidURL):
            raise InvalidInput(
                f"{self._asked()}: this cannot be sent ({failure}). Check the inputs."
            ) from None
        # An operation called with arguments that it does not have.
        raise failure

    def _raise_unusable(self, failure: Exception) -> NoReturn:
        """The error for an answer that is not one of the API."""
        response = self._answer
        if response is None:
            self._raise_unsendable(failure)
        if response.status_code >= http.HTTPStatus.BAD_REQUEST:
            self._raise_rejected()
        raise InvalidResponse(
            f"{self._asked()}: answer {response.status_code} {why_unusable(failure, response)}"
            f"{start_of(response, self._secrets)}. {hint_for_unusable(response.status_code)}"
        ) from None

    def _raise_rejected(self) -> NoReturn:
        """The error for an HTTP error, with the runner's code and message where it gave them."""
        response = self._answer
        assert response is not None
        code, message = error_of(response, self._secrets)
        status = response.status_code
        said = (
            f"{status} {code}: {one_line(message or '')}"
            if code
            else f"{status} no error of script-runner{start_of(response, self._secrets)}"
        )
        hint = hint_for_rejection(status, code)
        raise RequestRejected(
            f"{self._asked()}: {said}. {hint}".rstrip(),
            status_code=status,
            code=code,
            message=message,
        ) from None


def connect(url: str = DEFAULT_URL) -> Runner:
    """The script-runner at a URL; the same object each time, so that its connections stay warm.

    Nothing is sent yet.

    Args:
        url: `http://host:port`, with a prefix (`/tools`) where a proxy has one, and with
            credentials (`http://any:TOKEN@host:port`) where the runner wants a token.

    Raises:
        InvalidInput: If it is not an http or https URL.
    """
    checked = _checked(url) if isinstance(url, str) else checked_url(url)
    with _connecting:
        return _connect(checked)


# Reading a URL takes as long as a tenth of a call.
_checked = functools.lru_cache(maxsize=4 * MAX_RUNNERS)(checked_url)
_connecting = threading.Lock()


@functools.lru_cache(maxsize=MAX_RUNNERS)
def _connect(url: httpx.URL) -> Runner:
    return Runner(url)
