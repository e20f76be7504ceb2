from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.accepted_job import AcceptedJob
from ...models.error import Error
from ...models.job import Job
from ...models.run_request import RunRequest
from ...types import Response


def _get_kwargs(
    *,
    body: RunRequest,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/run",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> AcceptedJob | Error | Job | None:
    if response.status_code == 200:
        response_200 = Job.from_dict(response.json())

        return response_200

    if response.status_code == 202:
        response_202 = AcceptedJob.from_dict(response.json())

        return response_202

    if response.status_code == 400:
        response_400 = Error.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Error.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Error.from_dict(response.json())

        return response_403

    if response.status_code == 413:
        response_413 = Error.from_dict(response.json())

        return response_413

    if response.status_code == 415:
        response_415 = Error.from_dict(response.json())

        return response_415

    if response.status_code == 500:
        response_500 = Error.from_dict(response.json())

        return response_500

    if response.status_code == 503:
        response_503 = Error.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[AcceptedJob | Error | Job]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: RunRequest,
) -> Response[AcceptedJob | Error | Job]:
    """Run a script

     Starts a script and responds at once (`mode: async`, 202) or when the job has ended
    (`mode: sync`, 200). Without `mode` the script's own mode decides, then the server's default.

    A sync response holds only the tail of the output (`stdoutPreview`, `stderrPreview`); read the
    whole of it with `getJobLogs`. A script that fails is a 200 whose `status` is `failed`.

    Not idempotent: a repeated request is a second run.

    Args:
        body (RunRequest): Which script to run, and how.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AcceptedJob | Error | Job]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: RunRequest,
) -> AcceptedJob | Error | Job | None:
    """Run a script

     Starts a script and responds at once (`mode: async`, 202) or when the job has ended
    (`mode: sync`, 200). Without `mode` the script's own mode decides, then the server's default.

    A sync response holds only the tail of the output (`stdoutPreview`, `stderrPreview`); read the
    whole of it with `getJobLogs`. A script that fails is a 200 whose `status` is `failed`.

    Not idempotent: a repeated request is a second run.

    Args:
        body (RunRequest): Which script to run, and how.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AcceptedJob | Error | Job
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: RunRequest,
) -> Response[AcceptedJob | Error | Job]:
    """Run a script

     Starts a script and responds at once (`mode: async`, 202) or when the job has ended
    (`mode: sync`, 200). Without `mode` the script's own mode decides, then the server's default.

    A sync response holds only the tail of the output (`stdoutPreview`, `stderrPreview`); read the
    whole of it with `getJobLogs`. A script that fails is a 200 whose `status` is `failed`.

    Not idempotent: a repeated request is a second run.

    Args:
        body (RunRequest): Which script to run, and how.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[AcceptedJob | Error | Job]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: RunRequest,
) -> AcceptedJob | Error | Job | None:
    """Run a script

     Starts a script and responds at once (`mode: async`, 202) or when the job has ended
    (`mode: sync`, 200). Without `mode` the script's own mode decides, then the server's default.

    A sync response holds only the tail of the output (`stdoutPreview`, `stderrPreview`); read the
    whole of it with `getJobLogs`. A script that fails is a 200 whose `status` is `failed`.

    Not idempotent: a repeated request is a second run.

    Args:
        body (RunRequest): Which script to run, and how.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        AcceptedJob | Error | Job
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
