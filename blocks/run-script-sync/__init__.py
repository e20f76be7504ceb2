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
from script_runner.oomol import connect, inputs, node, words


def main(params: Inputs, context: Context) -> Outputs:
    """Run a script to its end and return all it wrote; a script that fails is a result."""
    body = RunRequest(
        script_id=inputs.string(params, "script_id"),
        args=inputs.strings(params, "args"),
        mode="sync",
    )
    runner = connect(params)
    job = runner.call(
        run_script, body=body, returns=Job, timeout=runner.settings.sync_run_seconds
    )
    stdout, log = runner.output(job, "stdout"), runner.output(job, "stderr")
    stderr = words.with_reason(job, log)
    cut = words.truncated_streams(job, {"stdout": stdout, "stderr": log})
    node.show_output(context, stdout, stderr)
    node.warn_of_job(context, job, cut)
    return {
        "stdout": stdout,
        "stderr": stderr,
        "exit_code": -1 if job.code is None else job.code,
        "status": words.status_of(job),
        "job_id": job.job_id,
        "truncated": bool(cut),
    }
