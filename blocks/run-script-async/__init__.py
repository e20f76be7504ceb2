#region generated meta
import typing
class Inputs(typing.TypedDict):
    script_id: str
    args: list[str] | None
    script_runner_url: str
class Outputs(typing.TypedDict):
    job_id: typing.NotRequired[str]
#endregion

from oocana import Context

from generated_client.api.jobs import run_script
from generated_client.models import AcceptedJob, RunRequest
from script_runner.oomol import connect, inputs


def main(params: Inputs, context: Context) -> Outputs:
    """Start a script and return its job at once."""
    body = RunRequest(
        script_id=inputs.string(params, "script_id"),
        args=inputs.strings(params, "args"),
        mode="async",
    )
    accepted = connect(params).call(run_script, body=body, returns=AcceptedJob)
    return {"job_id": accepted.job_id}
