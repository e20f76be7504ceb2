"""The whole output of a job, however large."""

from __future__ import annotations

import contextlib

from generated_client.models import Job
from script_runner.client import Runner
from script_runner.errors import InvalidInput, InvalidResponse
from script_runner.hints import hint_for_unusable
from script_runner.inputs import Stream
from script_runner.pages import REPLACEMENT, RunnerLog, read_text


def whole_output(runner: Runner, job: Job, stream: Stream) -> str:
    """The whole of what a job wrote to a stream, as far as the runner kept it.

    It is the preview where that is complete: as long in UTF-8 as the log in bytes, nothing thrown
    away, and nothing in it that could not be decoded (where a preview begins inside a character
    its length may equal that of the log by chance). Else it is read from the log.

    Args:
        runner: See `connect`.
        job: An ended job, as the runner answered it.
        stream: `stdout` or `stderr`.

    Raises:
        InvalidInput: If there is no such stream.
        ScriptRunnerError: See `Runner.call`.
    """
    log = RunnerLog(runner, job.job_id, stream)
    is_stdout = stream == "stdout"
    preview = job.stdout_preview if is_stdout else job.stderr_preview
    size = job.stdout_size if is_stdout else job.stderr_size
    truncated = job.stdout_truncated if is_stdout else job.stderr_truncated
    if not truncated and len(preview.encode()) == size and REPLACEMENT not in preview:
        return preview
    with contextlib.suppress(InvalidInput):
        return "".join(read_text(log, 0, size))
    # It was the runner that named the job.
    raise InvalidResponse(
        f"the job that {runner.url} answered has an id that cannot be asked for: "
        f"{runner.quoted(job.job_id)}. {hint_for_unusable()}"
    )
