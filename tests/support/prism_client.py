"""Clients of the Prism mock that tell an error of Prism from an answer of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from generated_client import Client
from script_runner import Runner

PRISM_ERROR_TYPE = "https://stoplight.io/prism/errors#"


class PrismError(Exception):
    """Prism refused the request or had no such answer; the API never said this."""


def prefer_answers(
    monkeypatch: pytest.MonkeyPatch, runner: Runner, prefer: Callable[[str], str]
) -> None:
    """Make a runner ask the mock for certain answers, and raise for errors of Prism.

    Args:
        monkeypatch: Undoes it.
        runner: A runner at the URL of the mock.
        prefer: The `Prefer` header for the path of a request.
    """
    request = runner._transport.request

    def preferring(
        method: str, url: str, *, headers: Mapping[str, str] | None = None, **parts: Any
    ) -> httpx.Response:
        response = request(method, url, headers={**(headers or {}), "Prefer": prefer(url)}, **parts)
        refuse_prism_error(response)
        return response

    monkeypatch.setattr(runner._transport, "request", preferring)


def _prism_error(response: httpx.Response, body: bytes) -> PrismError | None:
    # A request the description forbids is answered with the example of a 400 where there is one.
    complaint = response.headers.get("sl-violations")
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        complaint = body.decode()
        assert PRISM_ERROR_TYPE in complaint, complaint
    if complaint is None:
        return None
    return PrismError(complaint)


def refuse_prism_error(response: httpx.Response) -> None:
    """An httpx response hook.

    Raises:
        PrismError: If the answer is Prism's own, not one of the API.
    """
    if error := _prism_error(response, response.read()):
        raise error


async def refuse_prism_error_async(response: httpx.Response) -> None:
    """The same for an asyncio client."""
    if error := _prism_error(response, await response.aread()):
        raise error


def prism_client(url: str, prefer: str | None = None) -> Client:
    """A generated client of the mock, for use as a context manager.

    Args:
        url: Where the mock listens.
        prefer: The answer to ask for, such as `code=404, example=job-not-found`.
    """
    headers = {} if prefer is None else {"Prefer": prefer}
    client = Client(base_url=url, headers=headers, raise_on_unexpected_status=True)
    client.set_httpx_client(
        httpx.Client(
            base_url=url,
            headers=headers,
            trust_env=False,
            event_hooks={"response": [refuse_prism_error]},
        )
    )
    client.set_async_httpx_client(
        httpx.AsyncClient(
            base_url=url,
            headers=headers,
            trust_env=False,
            event_hooks={"response": [refuse_prism_error_async]},
        )
    )
    return client
