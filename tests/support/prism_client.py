"""Clients of the Prism mock that tell an error of Prism from a response of the API."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import httpx

from generated_client import Client
from tests.support.misbehaving_server import MisbehavingServer, Request, Step, http_response

PRISM_ERROR_TYPE = "https://stoplight.io/prism/errors#"


class PrismError(Exception):
    """Prism refused the request or had no such response; the API never said this."""


@contextlib.contextmanager
def preferring(mock_url: str, prefer: Callable[[Request], str]) -> Iterator[MisbehavingServer]:
    """A server before the mock, which asks it for certain responses.

    Args:
        mock_url: Where the mock listens.
        prefer: The `Prefer` header for a request, such as `code=404, example=job-not-found`.

    Yields:
        The server; its `requests` are those that the mock saw.

    Raises:
        PrismError: At the end, if Prism refused a request or has no such response.
    """
    errors: list[PrismError] = []

    def forwarded(request: Request) -> Iterator[Step]:
        headers = {"Prefer": prefer(request), "Content-Type": "application/json"}
        response = client.request(
            request.method, request.target, content=request.body or None, headers=headers
        )
        if error := _prism_error(response, response.content):
            errors.append(error)
        yield http_response(
            response.status_code, response.content, "Content-Type: application/json"
        )

    with (
        httpx.Client(base_url=mock_url, trust_env=False) as client,
        MisbehavingServer(forwarded) as server,
    ):
        yield server
    if errors:
        raise errors[0]


def _prism_error(response: httpx.Response, body: bytes) -> PrismError | None:
    # A request the spec forbids gets the example of a 400 if there is one.
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
        PrismError: If the response is Prism's own, not one of the API.
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
        prefer: The response to ask for, such as `code=404, example=job-not-found`.
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
