"""Run scripts through a script-runner, watch them, read their output, stop them.

    from generated_client.api.jobs import run_script
    from generated_client.models import AcceptedJob, RunRequest
    from script_runner import connect, read_lines, wait_for_job

    runner = connect("http://localhost:3000")
    body = RunRequest("count", args=["5"], mode="async")
    accepted = runner.call(run_script, body=body, returns=AcceptedJob)
    job = wait_for_job(runner, accepted.job_id, timeout_seconds=60)
    print(job.code, read_lines(runner, job.job_id, "stdout").lines)

`generated_client` is generated from `openapi/script-runner.yaml`; this package adds what a
description cannot say: warm connections, one family of errors, lines instead of bytes, waiting.
"""

from script_runner import inputs, oomol
from script_runner.client import Runner, connect
from script_runner.errors import (
    InvalidInput,
    InvalidResponse,
    RequestRejected,
    RequestTimedOut,
    RunnerUnreachable,
    ScriptRunnerError,
)
from script_runner.inputs import Stream
from script_runner.lines import LogLines, read_lines
from script_runner.output import whole_output
from script_runner.status import (
    describe_cancel,
    exit_code_of,
    has_ended,
    status_of,
    truncated_streams,
)
from script_runner.transport import ANSWER_SECONDS, CONNECT_SECONDS, SYNC_RUN_SECONDS
from script_runner.waiting import wait_for_job

__all__ = [
    "ANSWER_SECONDS",
    "CONNECT_SECONDS",
    "SYNC_RUN_SECONDS",
    "InvalidInput",
    "InvalidResponse",
    "LogLines",
    "RequestRejected",
    "RequestTimedOut",
    "Runner",
    "RunnerUnreachable",
    "ScriptRunnerError",
    "Stream",
    "connect",
    "describe_cancel",
    "exit_code_of",
    "has_ended",
    "inputs",
    "oomol",
    "read_lines",
    "status_of",
    "truncated_streams",
    "wait_for_job",
    "whole_output",
]
