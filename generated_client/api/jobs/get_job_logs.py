from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.get_job_logs_stream import GetJobLogsStream
from ...models.log_page import LogPage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    job_id: str,
    *,
    stream: GetJobLogsStream | Unset = "stdout",
    offset: int | Unset = 0,
    limit: int | Unset = 65536,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_stream: str | Unset = UNSET
    if not isinstance(stream, Unset):
        json_stream = stream

    params["stream"] = json_stream

    params["offset"] = offset

    params["limit"] = limit

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/jobs/{job_id}/logs".format(
            job_id=quote(str(job_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | LogPage | None:
    if response.status_code == 200:
        response_200 = LogPage.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Error.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Error.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Error.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = Error.from_dict(response.json())

        return response_404

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
) -> Response[Error | LogPage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient | Client,
    stream: GetJobLogsStream | Unset = "stdout",
    offset: int | Unset = 0,
    limit: int | Unset = 65536,
) -> Response[Error | LogPage]:
    """Read a page of a job's log

     A page of the raw log of one stream. **Offsets and limits are bytes, not lines.**

    Read on with `offset = nextOffset` until `nextOffset` equals `totalSize`. The log of a running
    job grows between two requests and may end in half a line or half a character.

    The server cuts the page at a byte and decodes it alone as UTF-8; whatever cannot be decoded
    becomes U+FFFD, one for each maximal invalid part. A character that lies across the end of a
    page may therefore be lost on both sides. A newline byte is never part of another character:
    a page that begins at the start of a line begins at the start of a character.

    Args:
        job_id (str):
        stream (GetJobLogsStream | Unset):  Default: 'stdout'.
        offset (int | Unset):  Default: 0.
        limit (int | Unset):  Default: 65536.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | LogPage]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        stream=stream,
        offset=offset,
        limit=limit,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    job_id: str,
    *,
    client: AuthenticatedClient | Client,
    stream: GetJobLogsStream | Unset = "stdout",
    offset: int | Unset = 0,
    limit: int | Unset = 65536,
) -> Error | LogPage | None:
    """Read a page of a job's log

     A page of the raw log of one stream. **Offsets and limits are bytes, not lines.**

    Read on with `offset = nextOffset` until `nextOffset` equals `totalSize`. The log of a running
    job grows between two requests and may end in half a line or half a character.

    The server cuts the page at a byte and decodes it alone as UTF-8; whatever cannot be decoded
    becomes U+FFFD, one for each maximal invalid part. A character that lies across the end of a
    page may therefore be lost on both sides. A newline byte is never part of another character:
    a page that begins at the start of a line begins at the start of a character.

    Args:
        job_id (str):
        stream (GetJobLogsStream | Unset):  Default: 'stdout'.
        offset (int | Unset):  Default: 0.
        limit (int | Unset):  Default: 65536.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | LogPage
    """

    return sync_detailed(
        job_id=job_id,
        client=client,
        stream=stream,
        offset=offset,
        limit=limit,
    ).parsed


async def asyncio_detailed(
    job_id: str,
    *,
    client: AuthenticatedClient | Client,
    stream: GetJobLogsStream | Unset = "stdout",
    offset: int | Unset = 0,
    limit: int | Unset = 65536,
) -> Response[Error | LogPage]:
    """Read a page of a job's log

     A page of the raw log of one stream. **Offsets and limits are bytes, not lines.**

    Read on with `offset = nextOffset` until `nextOffset` equals `totalSize`. The log of a running
    job grows between two requests and may end in half a line or half a character.

    The server cuts the page at a byte and decodes it alone as UTF-8; whatever cannot be decoded
    becomes U+FFFD, one for each maximal invalid part. A character that lies across the end of a
    page may therefore be lost on both sides. A newline byte is never part of another character:
    a page that begins at the start of a line begins at the start of a character.

    Args:
        job_id (str):
        stream (GetJobLogsStream | Unset):  Default: 'stdout'.
        offset (int | Unset):  Default: 0.
        limit (int | Unset):  Default: 65536.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | LogPage]
    """

    kwargs = _get_kwargs(
        job_id=job_id,
        stream=stream,
        offset=offset,
        limit=limit,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    job_id: str,
    *,
    client: AuthenticatedClient | Client,
    stream: GetJobLogsStream | Unset = "stdout",
    offset: int | Unset = 0,
    limit: int | Unset = 65536,
) -> Error | LogPage | None:
    """Read a page of a job's log

     A page of the raw log of one stream. **Offsets and limits are bytes, not lines.**

    Read on with `offset = nextOffset` until `nextOffset` equals `totalSize`. The log of a running
    job grows between two requests and may end in half a line or half a character.

    The server cuts the page at a byte and decodes it alone as UTF-8; whatever cannot be decoded
    becomes U+FFFD, one for each maximal invalid part. A character that lies across the end of a
    page may therefore be lost on both sides. A newline byte is never part of another character:
    a page that begins at the start of a line begins at the start of a character.

    Args:
        job_id (str):
        stream (GetJobLogsStream | Unset):  Default: 'stdout'.
        offset (int | Unset):  Default: 0.
        limit (int | Unset):  Default: 65536.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | LogPage
    """

    return (
        await asyncio_detailed(
            job_id=job_id,
            client=client,
            stream=stream,
            offset=offset,
            limit=limit,
        )
    ).parsed
