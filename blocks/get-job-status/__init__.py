#region generated meta
import typing
class Inputs(typing.TypedDict):
    job_id: str
    script_runner_url: str
class Outputs(typing.TypedDict):
    status: typing.NotRequired[str]
    exit_code: typing.NotRequired[float | None]
    stdout_preview: typing.NotRequired[str]
    stderr_preview: typing.NotRequired[str]
#endregion

from oocana import Context

from generated_client.api.jobs import get_job
from script_runner import connect, exit_code_of, inputs, status_of


def main(params: Inputs, context: Context) -> Outputs:
    """Look at a job once."""
    job_id = inputs.text(params, "job_id")
    job = connect(inputs.url(params)).call(get_job, job_id)
    return {
        "status": status_of(job.status),
        "exit_code": exit_code_of(job),
        "stdout_preview": job.stdout_preview,
        "stderr_preview": job.stderr_preview,
    }
