"""What a block shows beside its outputs: a preview, its progress, a warning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

PREVIEW_CHARACTERS = 20_000
"""The most text a preview shows, its end; a preview is sent with every run of the block."""


class Context(Protocol):
    """The parts of `oocana.Context` that are used here."""

    def preview(self, payload: Any) -> None:
        """Show something on the node."""

    def send_warning(self, warning: str) -> None:
        """Show a warning on the node."""


def show_output(context: Context, *texts: str) -> None:
    """Show what a script wrote as the preview of the node: the end of it, where it is long."""
    text = "\n".join(text.rstrip("\n") for text in texts if text)
    if len(text) > PREVIEW_CHARACTERS:
        text = f"… the last {PREVIEW_CHARACTERS} characters:\n{text[-PREVIEW_CHARACTERS:]}"
    context.preview({"type": "text", "data": text or "(no output)"})


def warn_if_cut(context: Context, job_id: str, streams: Sequence[str]) -> None:
    """Warn that the runner threw away output of these streams of a job, if there are any."""
    if streams:
        context.send_warning(
            f"The {' and '.join(streams)} of job {job_id} is cut: the runner keeps only the first "
            "bytes of a log (maxLogBytesPerStream in its config.json)."
        )
