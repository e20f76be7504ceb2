"""Cancel the jobs that the nodes of a flow started and that nobody waits for any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scripts.flow.node import NodeRun, State
from scripts.flow.secrets import with_secret

URL_HANDLE, JOB_HANDLE, SCRIPT_HANDLE = "script_runner_url", "job_id", "script_id"
"""The handles by which a node is known to start a job, and where."""
CANCEL_SECONDS = 5.0
"""How long one runner may take to respond to a cancel."""


@dataclass(frozen=True)
class StartedJob:
    """A job that a node started.

    Attributes:
        node_id: The node.
        job_id: The job, or None if the node had not put it out.
        url: The runner, as the flow has it: a secret is still a reference.
    """

    node_id: str
    job_id: str | None
    url: str

    def cancel_in_background(self) -> asyncio.Future[str]:
        """Cancel it in a thread that does not hold the process up; returns what `cancel` does."""
        loop = asyncio.get_running_loop()
        said: asyncio.Future[str] = loop.create_future()

        def cancel() -> None:
            sentence = self.cancel()
            with contextlib.suppress(RuntimeError):  # The loop was closed meanwhile.
                loop.call_soon_threadsafe(said.set_result, sentence)

        threading.Thread(target=cancel, daemon=True).start()
        return said

    def cancel(self) -> str:
        """Cancel it; returns what came of it, in a sentence."""
        if self.job_id is None:
            return (
                f"{self.node_id} had not put out a job id: its script may go on, "
                "cancel it on the runner"
            )
        # Only here, for the import takes as long as all others together.
        from generated_client.api.jobs import cancel_job
        from script_runner import ScriptRunnerError
        from script_runner.oomol import connect, words

        try:
            url = with_secret(self.url) or self.url
            job = connect({URL_HANDLE: url}).call(cancel_job, self.job_id, timeout=CANCEL_SECONDS)
        except ScriptRunnerError as error:
            return f"{self.job_id} of {self.node_id} may go on: {error}"
        status = words.status_of(job)
        what = {"cancelled": "is cancelled", "running": "was told to end"}
        return f"{self.job_id} of {self.node_id} {what.get(status, f'had ended: {status}')}"


def started_jobs(runs: Iterable[NodeRun]) -> Iterator[StartedJob]:
    """The jobs that some nodes started: those that they put out and were not given."""
    for run in runs:
        url, job_id = run.values.get(URL_HANDLE), run.outputs.get(JOB_HANDLE)
        if not isinstance(url, str):
            continue
        if isinstance(job_id, str) and job_id != run.values.get(JOB_HANDLE):
            yield StartedJob(run.node.node_id, job_id, url)
        elif run.state is State.RUNNING and SCRIPT_HANDLE in run.values:
            yield StartedJob(run.node.node_id, None, url)
