#region generated meta
import typing
class Inputs(typing.TypedDict):
    job_id: str
    timeout_seconds: float
    script_runner_url: str
class Outputs(typing.TypedDict):
    status: typing.NotRequired[str]
    exit_code: typing.NotRequired[float | None]
    stdout_preview: typing.NotRequired[str]
    stderr_preview: typing.NotRequired[str]
    job_id: typing.NotRequired[str]
#endregion

from oocana import Context

from script_runner import connect, exit_code_of, inputs, oomol
from script_runner import status_of, truncated_streams, wait_for_job


def main(params: Inputs, context: Context) -> Outputs:
    """Wait until a job has ended; `wait_for_job` looks at it with getJob, less and less often."""
    timeout_seconds = inputs.seconds(params, "timeout_seconds", default=300.0)
    job = wait_for_job(
        connect(inputs.url(params)),
        inputs.text(params, "job_id"),
        timeout_seconds=timeout_seconds,
        on_line=lambda line, stream: context.report_log(line, stdio=stream),
        # A script does not say how far it is: the progress is the share of the wait that is over.
        on_look=lambda _, waited: context.report_progress(100 * waited / (timeout_seconds or 1)),
    )
    oomol.warn_if_cut(context, job.job_id, truncated_streams(job))
    return {
        "status": status_of(job.status),
        "exit_code": exit_code_of(job),
        "stdout_preview": job.stdout_preview,
        "stderr_preview": job.stderr_preview,
        "job_id": job.job_id,
    }
