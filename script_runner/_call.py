"""One call of an operation: what both clients do before and after it is sent."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from generated_client import Client
from generated_client.models import Error, RunRequest
from generated_client.types import Response
from script_runner._address import Address
from script_runner._explain import FailedCall, Hints, one_line
from script_runner._http import HttpClient
from script_runner._redaction import Redaction
from script_runner._settings import LONGEST_TIMEOUT_SECONDS, Settings
from script_runner._validation import check_response, path_argument, seconds

if TYPE_CHECKING:
    from script_runner._async_http import AsyncHttpClient

ModelT = TypeVar("ModelT")


class Operation(Protocol[ModelT]):
    """A module of `generated_client.api.jobs` whose responses are of one kind: `get_job`."""

    @property
    def sync_detailed(self) -> Callable[..., Response[Error | ModelT]]:
        """The generated function that calls the operation."""

    @property
    def asyncio_detailed(self) -> Callable[..., Any]:
        """The same for asyncio."""


class AnyOperation(Protocol):
    """An operation whose responses are of several kinds, such as `run_script`."""

    @property
    def sync_detailed(self) -> Callable[..., Response[Any]]:
        """The generated function that calls the operation."""

    @property
    def asyncio_detailed(self) -> Callable[..., Any]:
        """The same for asyncio."""


class Calls:
    """Begins the calls of one client, and explains those that fail.

    Attributes:
        address: Where the runner is.
        settings: Times and limits.
        hints: What messages tell their reader to use.
        hide: Takes the credentials that are sent out of texts.
    """

    def __init__(self, address: Address, settings: Settings, hints: Hints, timeout: float) -> None:
        """Share what all calls need; `timeout` is that of a call for which none is named."""
        self.address = address
        self.settings = settings
        self.hints = hints
        self.hide = Redaction(address.secrets)
        self._timeout = timeout

    def begin(
        self,
        operation: AnyOperation,
        arguments: Sequence[object],
        options: Mapping[str, object],
        timeout: float | None,
    ) -> Call:
        """Check what can be checked of a call before it is sent.

        Raises:
            InvalidInput: See `path_argument`; also if the timeout is no number of seconds, or
                longer than `LONGEST_TIMEOUT_SECONDS`.
        """
        limit = self._timeout if timeout is None else timeout
        limit = seconds("timeout", limit, most=LONGEST_TIMEOUT_SECONDS)
        asked: dict[str, object] = dict(
            zip(_path_arguments(operation.sync_detailed), arguments, strict=False)
        )
        for name, value in asked.items():
            path_argument(name, value)
        asked |= options
        body = options.get("body")
        if isinstance(body, RunRequest):
            asked["script_id"] = body.script_id
        return Call(self, asked, limit)

    def quoted(self, text: str) -> str:
        """A text that came from the runner as a part of a message: without credentials, short."""
        return one_line(self.hide(text))


class Call:
    """One call that has begun."""

    def __init__(self, calls: Calls, asked: Mapping[str, object], timeout: float) -> None:
        """Note it; see `Calls.begin`."""
        self._calls = calls
        self._asked = asked
        self._timeout = timeout

    def client(self, http: HttpClient | AsyncHttpClient) -> Client:
        """The client to hand to the generated function, for this call alone."""
        one = http.for_one_call(self._timeout)
        self._exchange = one.exchange
        client = Client(base_url=self._calls.address.shown, raise_on_unexpected_status=True)
        if isinstance(one, HttpClient):
            return client.set_httpx_client(one)
        return client.set_async_httpx_client(one)

    def checked(self, response: Response[Any], returns: type[Any] | None) -> Any:
        """The model in a response.

        Raises:
            TypeError, ValueError: If it is not one of the API, or not for what was asked.
        """
        model = response.parsed
        if isinstance(model, Error):
            # Its status makes a RequestRejected of it.
            raise TypeError("an error came")
        if returns is not None and type(model) is not returns:
            raise TypeError(
                f"{type(model).__name__} came, not the {returns.__name__} that was wanted"
            )
        check_response(model, self._asked)
        return model

    def explained(self, failure: Exception) -> Exception:
        """The error to raise for one of `FAILURES`."""
        calls, script_id = self._calls, self._asked.get("script_id")
        return FailedCall(
            calls.address,
            calls.hints,
            calls.hide,
            self._exchange,
            self._timeout,
            calls.settings.connect_seconds,
            None if script_id is None else str(script_id),
        ).explained(failure)


@functools.cache
def _path_arguments(function: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a generated function takes by position: path parameters."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
