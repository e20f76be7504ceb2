"""`connect`, and the one way in which every operation of the API is called."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, overload

import httpx

from generated_client import Client
from generated_client.models import Error
from generated_client.types import Response
from script_runner.address import checked_url
from script_runner.answers import UNUSABLE, one_line
from script_runner.errors import InvalidInput
from script_runner.failures import FailedCall
from script_runner.inputs import DEFAULT_URL
from script_runner.limits import LONGEST_LIMIT_SECONDS, time_limit
from script_runner.redaction import Redaction
from script_runner.transport import ANSWER_SECONDS, CALL_FAILURES, Transport
from script_runner.validation import check_types

MAX_RUNNERS = 32
"""The most base URLs whose connections are kept; the one longest unused goes first."""

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
        self._transport = Transport(base_url)
        self._hide = Redaction(self._transport.secrets)
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
            InvalidInput: If the arguments cannot be sent, for instance not be written as UTF-8, or
                the time limit is longer than `LONGEST_LIMIT_SECONDS`.
            RunnerUnreachable: If no answer came.
            RequestTimedOut: If the answer was not whole within the time limit.
            RequestRejected: If the answer was an HTTP error.
            InvalidResponse: If the answer was not one of the API, or not of the wanted kind.
        """
        if not time_limit_seconds <= LONGEST_LIMIT_SECONDS:
            raise InvalidInput(
                "time_limit_seconds must be a number of seconds, at most "
                f"{LONGEST_LIMIT_SECONDS}, got {time_limit_seconds}"
            )
        try:
            with time_limit(time_limit_seconds):
                parsed = operation.sync_detailed(*arguments, client=self._client, **options).parsed
            if isinstance(parsed, Error):
                # Its status makes a RequestRejected of it.
                raise TypeError("an error came")
            if returns is not None and type(parsed) is not returns:
                raise TypeError(f"{type(parsed).__name__} came where {returns.__name__} was wanted")
            check_types(parsed)
            return parsed
        except CALL_FAILURES as failure:
            error: Exception = self._failed().without_answer(failure, time_limit_seconds)
        except (httpx.InvalidURL, *UNUSABLE) as failure:
            error = self._failed().unusable(failure)
        finally:
            self._transport.forget_exchange()
        # Outside of `except`: else the error would hold the failure, which may show credentials.
        raise error

    def _failed(self) -> FailedCall:
        return FailedCall(self.url, self._way, self._transport.exchange, self._hide)

    def quoted(self, text: str) -> str:
        """A text that came from the runner as a part of a message: without credentials, short."""
        return one_line(self._hide(text))


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
