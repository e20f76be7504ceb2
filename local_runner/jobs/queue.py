"""The jobs that wait: in the order they came, those of each script on their own."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from local_runner.jobs.job import LiveJob


class Queue:
    """Queued jobs; to find those that may start costs by the scripts, not by the jobs."""

    def __init__(self) -> None:
        """Begin empty."""
        self._scripts: dict[str, dict[str, LiveJob]] = {}
        self._jobs: dict[str, LiveJob] = {}

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        """Whether a job waits."""
        return job_id in self._jobs

    def __iter__(self) -> Iterator[LiveJob]:
        """All jobs."""
        return iter(self._jobs.values())

    def count(self, script_id: str) -> int:
        """How many jobs of a script wait."""
        return len(self._scripts.get(script_id, ()))

    def add(self, job: LiveJob) -> None:
        """Put a job at the end."""
        job_id = job.record.job_id
        self._jobs[job_id] = job
        self._scripts.setdefault(job.record.script_id, {})[job_id] = job

    def put_back(self, job: LiveJob) -> None:
        """Put a job where it was before it was taken out."""
        self.add(job)
        of_script = self._scripts[job.record.script_id]
        in_order = sorted(of_script.items(), key=lambda item: item[1].record.seq)
        of_script.clear()
        of_script.update(in_order)

    def pop(self, job_id: str) -> LiveJob | None:
        """Take a job out; None if it does not wait."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            script_id = job.record.script_id
            of_script = self._scripts[script_id]
            del of_script[job_id]
            if not of_script:
                del self._scripts[script_id]
        return job

    def startable(self, may_start: Callable[[LiveJob], bool]) -> Iterator[LiveJob]:
        """The jobs that may start, the oldest first; nothing may be taken out meanwhile.

        Args:
            may_start: Asked of one job after the other; once it says no of a job, the others of
                that script are left out.
        """
        waiting = {script_id: iter(jobs.values()) for script_id, jobs in self._scripts.items()}
        heap = [(job.record.seq, job) for jobs in waiting.values() if (job := next(jobs, None))]
        heapq.heapify(heap)
        while heap:
            _, job = heapq.heappop(heap)
            if not may_start(job):
                continue
            yield job
            if following := next(waiting[job.record.script_id], None):
                heapq.heappush(heap, (following.record.seq, following))
