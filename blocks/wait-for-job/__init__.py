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

from script_runner.oomol import connect, inputs, node, words


def main(params: Inputs, context: Context) -> Outputs:
    """Wait until a job has ended; `wait` polls it with getJob, less and less often."""
    watch = node.Watch(context)
    job = connect(params).wait(
        inputs.job_id(params),
        timeout=inputs.seconds(params, "timeout_seconds", default=300.0),
        on_line=watch.on_line,
        on_progress=watch.on_progress,
        on_poll=watch.on_poll,
        max_lines=node.MAX_LINES,
    )
    node.warn_of_job(context, job, words.truncated_streams(job))
    return {
        "status": words.status_of(job),
        "exit_code": words.exit_code_of(job),
        "stdout_preview": job.stdout_preview,
        "stderr_preview": job.stderr_preview,
        "job_id": job.job_id,
    }
