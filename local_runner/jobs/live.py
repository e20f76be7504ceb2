"""The jobs that live, and the slots they take."""

from __future__ import annotations

from collections import Counter

from local_runner.jobs.job import LiveJob
from local_runner.jobs.queue import Queue


class LiveJobs:
    """The jobs that have not ended, or whose end is not recorded yet.

    Attributes:
        all: All that were accepted, by their id.
        queue: Those that wait, as soon as they wait.
        begun: Those that do not.
        last_seq: The number of the newest job.
        stopping: Whether the runner stops; nothing starts any more then.
    """

    def __init__(self, slots: int, last_seq: int) -> None:
        """Begin without any.

        Args:
            slots: How many run at once on this machine.
            last_seq: The number of the newest job of the history.
        """
        self.last_seq = last_seq
        self.all: dict[str, LiveJob] = {}
        self.queue = Queue()
        self.begun: dict[str, LiveJob] = {}
        self.stopping = False
        self._slots = slots
        self._busy = 0
        self._running: Counter[str] = Counter()

    def begin(self, job: LiveJob) -> None:
        """Count a job that does not wait, or no longer."""
        self.begun[job.record.job_id] = job

    def remove(self, job: LiveJob) -> None:
        """Leave a job out, wherever it is."""
        self.all.pop(job.record.job_id, None)
        self.begun.pop(job.record.job_id, None)

    def started(self) -> list[LiveJob]:
        """Those whose scripts were started; when the runner stops, the others stay queued."""
        return [job for job in self.begun.values() if job.has_process]

    def running(self, script_id: str) -> int:
        """How many jobs of a script run."""
        return self._running[script_id]

    def has_slot(self) -> bool:
        """Whether there is a slot free on this machine."""
        return self._busy < self._slots and not self.stopping

    def has_room(self, job: LiveJob) -> bool:
        """Whether a job may start as far as others of its script are concerned."""
        limit = job.script.max_concurrent
        return limit is None or self._running[job.script.id] < limit

    def take_slot(self, job: LiveJob) -> None:
        """Count a job as one that runs, wherever it does."""
        self._busy += 1
        self._running[job.record.script_id] += 1

    def free_slot(self, job: LiveJob) -> None:
        """Count it no longer."""
        self._busy -= 1
        self._running[job.record.script_id] -= 1
