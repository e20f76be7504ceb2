"""Each generated operation against Prism, for each response the spec has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from generated_client import Client, models
from generated_client.api.jobs import cancel_job, get_job, get_job_logs, run_script
from generated_client.models import RunRequest
from generated_client.types import Response
from tests.support.prism_client import PrismError, prism_client
from tests.support.spec import DescribedResponse, described_responses

JOB_ID = "job_1795459086738_1"
RUN = RunRequest("quick-echo", args=["hello", "world"], mode="async")

Call = Callable[[Client], Response[Any]]
AsyncCall = Callable[[Client], Awaitable[Response[Any]]]

CALLS: dict[str, Call] = {
    "runScript": lambda client: run_script.sync_detailed(client=client, body=RUN),
    "getJob": lambda client: get_job.sync_detailed(JOB_ID, client=client),
    "getJobLogs": lambda client: get_job_logs.sync_detailed(
        JOB_ID, client=client, stream="stderr", offset=7, limit=4096
    ),
    "cancelJob": lambda client: cancel_job.sync_detailed(JOB_ID, client=client),
}
ASYNC_CALLS: dict[str, AsyncCall] = {
    "runScript": lambda client: run_script.asyncio_detailed(client=client, body=RUN),
    "getJob": lambda client: get_job.asyncio_detailed(JOB_ID, client=client),
    "getJobLogs": lambda client: get_job_logs.asyncio_detailed(
        JOB_ID, client=client, stream="stderr", offset=7, limit=4096
    ),
    "cancelJob": lambda client: cancel_job.asyncio_detailed(JOB_ID, client=client),
}


def assert_is_as_described(response: Response[Any], described: DescribedResponse) -> None:
    model: Any = getattr(models, described.schema)
    assert response.status_code == described.status
    parsed: Any = response.parsed
    assert type(parsed) is model
    assert parsed == model.from_dict(described.body)
    assert parsed.additional_properties == {}


def test_the_spec_has_exactly_the_four_operations() -> None:
    operations = {described.operation for described in described_responses()}
    assert operations == set(CALLS) == set(ASYNC_CALLS)


@pytest.mark.parametrize("described", described_responses(), ids=str)
def test_an_operation_returns_the_response_as_its_model(
    mock_url: str, described: DescribedResponse
) -> None:
    with prism_client(mock_url, described.prefer) as client:
        assert_is_as_described(CALLS[described.operation](client), described)


@pytest.mark.parametrize("described", described_responses(), ids=str)
async def test_an_asyncio_operation_returns_the_response_as_its_model(
    mock_url: str, described: DescribedResponse
) -> None:
    async with prism_client(mock_url, described.prefer) as client:
        assert_is_as_described(await ASYNC_CALLS[described.operation](client), described)


def test_the_short_forms_return_the_model_alone(mock_url: str) -> None:
    with prism_client(mock_url, "code=200, example=failed") as client:
        job = get_job.sync(JOB_ID, client=client)
    assert isinstance(job, models.Job)
    assert (job.status, job.code) == ("failed", 3)


async def test_the_short_asyncio_forms_return_the_model_alone(mock_url: str) -> None:
    async with prism_client(mock_url, "code=404, example=job-not-found") as client:
        error = await get_job.asyncio(JOB_ID, client=client)
    assert isinstance(error, models.Error)
    assert error.error.code == "JOB_NOT_FOUND"


LOGS = f"/jobs/{JOB_ID}/logs"
FORBIDDEN_REQUESTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a run without a script": ("POST", "/run", {"json": {}}, "scriptId"),
    "an empty script id": ("POST", "/run", {"json": {"scriptId": ""}}, "scriptId"),
    "a script id that is a number": ("POST", "/run", {"json": {"scriptId": 5}}, "scriptId"),
    "args null": ("POST", "/run", {"json": {"scriptId": "a", "args": None}}, "args"),
    "args with a number": ("POST", "/run", {"json": {"scriptId": "a", "args": ["1", 2]}}, "args"),
    "an unknown mode": ("POST", "/run", {"json": {"scriptId": "a", "mode": "later"}}, "mode"),
    "a run without a body": ("POST", "/run", {}, "Body"),
    "an unknown stream": ("GET", LOGS, {"params": {"stream": "stdin"}}, "stream"),
    "a negative offset": ("GET", LOGS, {"params": {"offset": -1}}, "offset"),
    "a limit of nothing": ("GET", LOGS, {"params": {"limit": 0}}, "limit"),
    "a limit over 1 MiB": ("GET", LOGS, {"params": {"limit": 1048577}}, "limit"),
    "an offset that is text": ("GET", LOGS, {"params": {"offset": "end"}}, "offset"),
}


@pytest.mark.parametrize(
    ("method", "path", "parts", "culprit"), FORBIDDEN_REQUESTS.values(), ids=FORBIDDEN_REQUESTS
)
def test_the_mock_refuses_a_request_the_spec_forbids(
    mock_url: str, method: str, path: str, parts: dict[str, Any], culprit: str
) -> None:
    with prism_client(mock_url) as client, pytest.raises(PrismError, match=culprit):
        client.get_httpx_client().request(method, path, **parts)


@pytest.mark.parametrize("prefer", ["code=404, example=no-such-example", "code=418"])
def test_a_response_the_spec_lacks_is_an_error_of_prism(mock_url: str, prefer: str) -> None:
    with prism_client(mock_url, prefer) as client, pytest.raises(PrismError):
        get_job.sync_detailed(JOB_ID, client=client)


async def test_an_asyncio_client_tells_an_error_of_prism_from_a_response(mock_url: str) -> None:
    async with prism_client(mock_url, "code=404, example=no-such-example") as client:
        with pytest.raises(PrismError):
            await get_job.asyncio_detailed(JOB_ID, client=client)
