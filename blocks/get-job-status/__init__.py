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
from script_runner.oomol import connect, inputs, node, words


def main(params: Inputs, context: Context) -> Outputs:
    """Look at a job once."""
    job_id = inputs.job_id(params)
    job = connect(params).call(get_job, job_id)
    node.warn_if_timed_out(context, job)
    return {
        "status": words.status_of(job),
        "exit_code": words.exit_code_of(job),
        "stdout_preview": job.stdout_preview,
        "stderr_preview": job.stderr_preview,
    }
