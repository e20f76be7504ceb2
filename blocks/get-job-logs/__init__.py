#region generated meta
import typing
class Inputs(typing.TypedDict):
    job_id: str
    stream: typing.Literal["stdout", "stderr"]
    offset: float
    limit: float
    script_runner_url: str
class Outputs(typing.TypedDict):
    logs: typing.NotRequired[list[str]]
    total_lines: typing.NotRequired[float]
    truncated: typing.NotRequired[bool]
#endregion

from oocana import Context

from script_runner.oomol import connect, inputs, node


def main(params: Inputs, context: Context) -> Outputs:
    """Read lines of a job's log; `lines` makes them of the byte pages of getJobLogs."""
    job_id, stream = inputs.job_id(params), inputs.stream(params, "stream")
    page = connect(params).lines(
        job_id,
        stream,
        offset=inputs.whole_number(params, "offset", default=0, least=0),
        limit=inputs.whole_number(params, "limit", default=100, least=1),
    )
    node.show_output(context, "\n".join(page.lines))
    node.warn_if_cut(context, job_id, [stream] if page.truncated else [])
    return {"logs": page.lines, "total_lines": page.total_lines, "truncated": page.truncated}
