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
from script_runner import connect, describe_cancel, inputs


def main(params: Inputs, context: Context) -> Outputs:
    """Cancel a job, or tell its script to end."""
    job_id = inputs.text(params, "job_id")
    job = connect(inputs.url(params)).call(cancel_job, job_id)
    success, message = describe_cancel(job)
    return {"success": success, "message": message}
