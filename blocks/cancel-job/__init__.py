#region generated meta
import typing
class Inputs(typing.TypedDict):
    job_id: str
    script_runner_url: str
class Outputs(typing.TypedDict):
    success: typing.NotRequired[bool]
    message: typing.NotRequired[str]
#endregion

from oocana import Context

from generated_client.api.jobs import cancel_job
from script_runner.oomol import connect, inputs, words


def main(params: Inputs, context: Context) -> Outputs:
    """Cancel a job, or tell its script to end."""
    job_id = inputs.job_id(params)
    job = connect(params).call(cancel_job, job_id)
    success, message = words.cancel_result(job)
    return {"success": success, "message": message}
