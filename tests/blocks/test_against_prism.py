"""Each block against the mock of the API: what it sends, and what it makes of each response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from script_runner import InvalidResponse, RequestRejected, RequestTimedOut
from tests.support.block_runner import run_block
from tests.support.misbehaving_server import Request
from tests.support.prism_client import preferring
from tests.support.spec import DescribedResponse, described_responses

LOG_RESPONSE = "code=200, example=whole"
"""What the log of a job is while another operation is tested."""

JOB = {"job_id": "job_1795459086738_1"}
INPUTS: dict[str, tuple[str, Mapping[str, object]]] = {
    "run-script-async": ("runScript", {"script_id": "greet", "args": ["a b", "日志"]}),
    "run-script-sync": ("runScript", {"script_id": "greet", "args": []}),
    "get-job-status": ("getJob", JOB),
    "get-job-logs": ("getJobLogs", {**JOB, "stream": "stderr", "offset": 0.0, "limit": 10.0}),
    "cancel-job": ("cancelJob", JOB),
    "wait-for-job": ("getJob", {**JOB, "timeout_seconds": 0}),
}
STATUS_WORDS = {
    "queued": "queued",
    "running": "running",
    "succeeded": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "canceled": "cancelled",
}


def cases(status_codes: set[int] | None = None) -> list[Any]:
    return [
        pytest.param(block, response, id=f"{block}-{response.status}-{response.example}")
        for block, (operation, _) in INPUTS.items()
        for response in described_responses()
        if response.operation == operation
        and (status_codes is None or response.status in status_codes)
    ]


def asked_for(block: str, response: DescribedResponse) -> dict[str, object]:
    """The inputs of a block, which ask for what the response is about."""
    inputs = dict(INPUTS[block][1])
    for handle, field in (
        ("job_id", "jobId"),
        ("script_id", "scriptId"),
        ("stream", "stream"),
        ("offset", "offset"),
    ):
        if handle in inputs and field in response.body:
            inputs[handle] = response.body[field]
    return inputs


@pytest.fixture
def run_with_response(mock_url: str) -> Any:
    """Runs a block while Prism gives one response; a request Prism refuses fails the test.

    The operations of each block that the mock saw are checked: they are what the block shows.
    """

    def run(block: str, response: DescribedResponse) -> dict[str, Any]:
        def prefer(request: Request) -> str:
            is_log = operation_of(request) == "getJobLogs"
            return (
                LOG_RESPONSE if is_log and response.operation != "getJobLogs" else response.prefer
            )

        with preferring(mock_url, prefer) as server:
            try:
                return run_block(block, script_runner_url=server.url, **asked_for(block, response))
            finally:
                seen = [operation_of(request) for request in server.requests]
                assert seen[0] == response.operation
                assert set(seen) <= {response.operation, "getJobLogs"}
                assert set(seen) <= OPERATIONS[block]

    return run


def operation_of(request: Request) -> str:
    """The operation that a request calls."""
    path = urlsplit(request.target).path
    ends = {"/run": "runScript", "/logs": "getJobLogs", "/cancel": "cancelJob"}
    return next((name for end, name in ends.items() if path.endswith(end)), "getJob")


OPERATIONS = {
    "run-script-async": {"runScript"},
    "run-script-sync": {"runScript", "getJobLogs"},
    "get-job-status": {"getJob"},
    "get-job-logs": {"getJobLogs"},
    "cancel-job": {"cancelJob"},
    "wait-for-job": {"getJob", "getJobLogs"},
}
"""The operations that each block calls, and no others."""


def expected_job(body: dict[str, Any]) -> dict[str, Any]:
    status = STATUS_WORDS[body["status"]]
    return {
        "status": status,
        "exit_code": body["code"] if status in ("completed", "failed") else None,
        "stdout_preview": body["stdoutPreview"],
        "stderr_preview": body["stderrPreview"],
    }


@pytest.mark.parametrize(
    ("block", "response"), [case for case in cases({200}) if case.values[0] == "get-job-status"]
)
def test_get_job_status_gives_the_words_of_the_product(
    run_with_response: Any, block: str, response: DescribedResponse
) -> None:
    assert run_with_response(block, response) == expected_job(response.body)


@pytest.mark.parametrize(
    ("block", "response"), [case for case in cases({200}) if case.values[0] == "wait-for-job"]
)
def test_wait_for_job_gives_an_ended_job(
    run_with_response: Any, block: str, response: DescribedResponse
) -> None:
    if response.body["endedAt"] is None:
        with pytest.raises(
            RequestTimedOut, match=f"is still {STATUS_WORDS[response.body['status']]}"
        ):
            run_with_response(block, response)
    else:
        expected = {**expected_job(response.body), "job_id": response.body["jobId"]}
        assert run_with_response(block, response) == expected


PAGES = {
    "whole": ["start"],
    "empty": [],
    "multi-byte": ["日志"],
}
"""What get-job-logs makes of the pages that are whole logs; the others begin or end elsewhere."""


@pytest.mark.parametrize(
    "response",
    [a for a in described_responses() if (a.operation, a.status) == ("getJobLogs", 200)],
    ids=str,
)
def test_get_job_logs_gives_lines_and_refuses_a_page_it_did_not_ask_for(
    run_with_response: Any, response: DescribedResponse
) -> None:
    if response.example in PAGES:
        lines = PAGES[response.example]
        assert run_with_response("get-job-logs", response) == {
            "logs": lines,
            "total_lines": len(lines),
            "truncated": False,
        }
    else:
        with pytest.raises(InvalidResponse, match="asked for"):
            run_with_response("get-job-logs", response)


@pytest.mark.parametrize("response", [a for a in described_responses() if a.status == 202], ids=str)
def test_run_script_async_gives_the_job_id(
    run_with_response: Any, response: DescribedResponse
) -> None:
    assert run_with_response("run-script-async", response) == {"job_id": response.body["jobId"]}


COMPLETE = {"succeeded", "failed", "timed-out", "cancelled", "script-file-missing"}


@pytest.mark.parametrize(
    "response",
    [
        a
        for a in described_responses()
        if a.operation == "runScript" and a.status == 200 and a.example in COMPLETE
    ],
    ids=str,
)
def test_run_script_sync_gives_the_whole_result_whatever_the_status(
    run_with_response: Any, response: DescribedResponse
) -> None:
    assert run_with_response("run-script-sync", response) == {
        "stdout": response.body["stdoutPreview"],
        "stderr": response.body["stderrPreview"],
        "exit_code": response.body["code"],
        "status": STATUS_WORDS[response.body["status"]],
        "job_id": response.body["jobId"],
        "truncated": False,
    }


@pytest.mark.parametrize(
    "response",
    [a for a in described_responses() if a.operation == "cancelJob" and a.status == 200],
    ids=str,
)
def test_cancel_job_says_what_came_of_it(
    run_with_response: Any, response: DescribedResponse
) -> None:
    outputs = run_with_response("cancel-job", response)
    has_ended = response.example.startswith("already-")
    assert outputs["success"] is not has_ended
    assert response.body["jobId"] in outputs["message"]
    if has_ended:
        assert STATUS_WORDS[response.body["status"]] in outputs["message"]


@pytest.mark.parametrize(
    ("block", "response"), [case for case in cases() if case.values[1].status >= 400]
)
def test_every_error_response_is_a_rejection_that_says_all(
    run_with_response: Any, block: str, response: DescribedResponse
) -> None:
    with pytest.raises(RequestRejected) as caught:
        run_with_response(block, response)
    error, detail = caught.value, response.body["error"]
    assert (error.status_code, error.code, error.message) == (
        response.status,
        detail["code"],
        detail["message"],
    )
    text = str(error)
    for part in ("at http://127.0.0.1:", str(response.status), detail["code"], detail["message"]):
        assert part in text
    assert text.startswith(("GET /", "POST /"))
