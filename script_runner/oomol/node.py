"""What a block shows on its node beside its outputs: a preview, the log, its progress, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from generated_client.models import Job
from script_runner._status import Status
from script_runner.logs import Stream

PREVIEW_CHARACTERS = 20_000
"""The most text a preview shows, its end; a preview is sent with every run of the block."""

MAX_LINES = 2_000
"""The most lines of a stream that are passed on to the log of a node while it waits; each is a
message of its own. The log of the job has them all."""


class Context(Protocol):
    """The parts of `oocana.Context` that are used here."""

    def preview(self, payload: Any) -> None:
        """Show something on the node."""

    def send_warning(self, warning: str) -> None:
        """Show a warning on the node."""

    def report_log(self, line: str, stdio: Literal["stdout", "stderr"] = "stdout") -> None:
        """Put a line into the log of the node."""

    def report_progress(self, progress: float | int) -> None:
        """Show a progress, 0 to 100."""


def show_output(context: Context, *texts: str) -> None:
    """Show what a script wrote as the preview of the node: the end of it, if it is long."""
    text = "\n".join(text.rstrip("\n") for text in texts if text)
    if len(text) > PREVIEW_CHARACTERS:
        text = f"… the last {PREVIEW_CHARACTERS} characters:\n{text[-PREVIEW_CHARACTERS:]}"
    context.preview({"type": "text", "data": text or "(no output)"})


def warn_if_cut(context: Context, job_id: str, streams: Sequence[str]) -> None:
    """Warn that the runner has not kept all of these streams of a job, if there are any."""
    if streams:
        context.send_warning(
            f"The {' and '.join(streams)} of job {job_id} is cut: the runner keeps only the first "
            "bytes of a log (maxLogBytesPerStream in its config.json), nothing that comes after "
            "the end of the script, and nothing that does not fit on its disk."
        )


def warn_if_timed_out(context: Context, job: Job) -> None:
    """Warn that the time limit of its script ended a job: its status says only that it failed."""
    if job.status == Status.TIMED_OUT:
        context.send_warning(
            f"Job {job.job_id} was ended by the time limit of its script (timeoutSec in the "
            "runner's scripts.json)."
        )


def warn_of_job(context: Context, job: Job, cut: Sequence[str]) -> None:
    """Warn of what the outputs of a job do not say: it timed out, or these streams are cut."""
    warn_if_timed_out(context, job)
    warn_if_cut(context, job.job_id, cut)


class Watch:
    """Shows a job on the node while it is waited for."""

    def __init__(self, context: Context) -> None:
        """Watch nothing yet."""
        self._context = context
        self._said_queued = False
        self._percent: float | None = None

    def on_line(self, line: str, stream: Stream) -> None:
        """Put a line into the log of the node; of one that was written over its last state."""
        self._context.report_log(line.rpartition("\r")[2], stdio=stream)

    def on_progress(self, percent: float) -> None:
        """Show how far the script says that it is."""
        self._percent = percent
        self._context.report_progress(percent)

    def on_poll(self, job: Job) -> None:
        """Say once that the job is queued, and again how far it is."""
        if self._percent is not None:
            # OOMOL shows one report of all nodes in 0.3 s, and drops the others.
            self._context.report_progress(self._percent)
        if job.status == Status.QUEUED and not self._said_queued:
            self._said_queued = True
            self._context.report_log(
                f"Job {job.job_id} is queued: the runner is busy with others (maxConcurrent)."
            )
