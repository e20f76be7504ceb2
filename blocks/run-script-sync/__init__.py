#region generated meta
import typing
class Inputs(typing.TypedDict):
    script_id: str
    args: list[str] | None
    script_runner_url: str
class Outputs(typing.TypedDict):
    stdout: typing.NotRequired[str]
    stderr: typing.NotRequired[str]
    exit_code: typing.NotRequired[float]
    status: typing.NotRequired[str]
    job_id: typing.NotRequired[str]
    truncated: typing.NotRequired[bool]
#endregion

from oocana import Context

from generated_client.api.jobs import run_script
from generated_client.models import Job, RunRequest
from script_runner import SYNC_RUN_SECONDS, connect, inputs, oomol
from script_runner import status_of, truncated_streams, whole_output


def main(params: Inputs, context: Context) -> Outputs:
    """Run a script to its end and return all it wrote; a script that fails is a result."""
    body = RunRequest(
        script_id=inputs.text(params, "script_id"),
        args=inputs.texts(params, "args"),
        mode="sync",
    )
    runner = connect(inputs.url(params))
    job = runner.call(run_script, body=body, returns=Job, time_limit_seconds=SYNC_RUN_SECONDS)
    stdout, stderr = whole_output(runner, job, "stdout"), whole_output(runner, job, "stderr")
    oomol.show_output(context, stdout, stderr)
    oomol.warn_if_cut(context, job.job_id, truncated_streams(job))
    return {
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": -1 if job.code is None else job.code,
        "status": status_of(job.status),
        "job_id": job.job_id,
        "truncated": bool(truncated_streams(job)),
    }
