"""What survives a restart: jobs that wait, and those that go on elsewhere. The others failed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from local_runner import log
from local_runner.config import RunnerConfig, ScriptConfig
from local_runner.jobs.allowlist import Allowlist, Refused
from local_runner.jobs.job import NO_EXIT_CODE, LiveJob, mark_ended, now_ms
from local_runner.jobs.live import LiveJobs
from local_runner.jobs.record import STREAMS, JobRecord, Status
from local_runner.jobs.recorder import Recorder
from local_runner.processes.launcher import Workers
from local_runner.processes.orphans import end_processes_of
from local_runner.storage.disk import Disk
from local_runner.storage.history import Store
from local_runner.storage.log_pages import decode_tail, read_tail


class Recovery:
    """Takes up the jobs that had not ended when the last runner did."""

    def __init__(
        self,
        limits: RunnerConfig,
        store: Store,
        allowlist: Allowlist,
        live: LiveJobs,
        recorder: Recorder,
        workers: Workers | None,
        disk: Disk,
    ) -> None:
        """Begin.

        Args:
            limits: What holds for all scripts.
            store: The history.
            allowlist: The scripts as they are now.
            live: Where the jobs go.
            recorder: Makes the live job of a record.
            workers: The machines that run the scripts; None for this one.
            disk: What reads logs and looks for processes.
        """
        self._limits = limits
        self._store = store
        self._allowlist = allowlist
        self._live = live
        self._recorder = recorder
        self._workers = workers
        self._disk = disk

    async def take_up(self, go_on: Callable[[LiveJob], None]) -> None:
        """End what ran here, queue what waited, go on with what runs elsewhere.

        Args:
            go_on: Called with each job that runs elsewhere.

        Raises:
            StoreError: If the history cannot be read or written.
        """
        live = await self._store.live()
        running = [record for record in live if record.status == Status.RUNNING]
        elsewhere = [record for record in running if self._workers and record.worker]
        await self._interrupt([record for record in running if record not in elsewhere])
        for record in live:
            if record.status == Status.QUEUED:
                await self._queue(record)
        for record in elsewhere:
            go_on(await self._resumed(record))

    async def _interrupt(self, interrupted: list[JobRecord]) -> None:
        """End what a killed runner left behind of some jobs, and the jobs."""
        if interrupted:
            ids = [record.job_id for record in interrupted]
            grace = self._limits.kill_grace_seconds
            ended = await self._disk.run(lambda: end_processes_of(ids, grace))
            log.event("recovered", interrupted_jobs=len(ids), processes_ended=ended)
        for record in interrupted:
            await self._disk.run(functools.partial(_mark_interrupted, record, self._limits))
            log.job_end(record)
            await self._store.save(record)

    async def _queue(self, record: JobRecord) -> None:
        """Queue a job again, unless the configuration has changed and would refuse it now."""
        try:
            script, _ = self._allowlist.check(record.script_id, list(record.args))
        except Refused as refusal:
            mark_ended(record, Status.FAILED, NO_EXIT_CODE, 0)
            record.stderr_preview = (
                "not started after a restart, the configuration does not allow it any more: "
                f"{refusal}\n"
            )
            log.job_end(record)
            await self._store.save(record)
            return
        accepted = self._allowlist.as_accepted(script, record.script)
        record.script = self._allowlist.kept(accepted)
        job = self._recorder.hold(record, accepted)
        self._live.all[record.job_id] = job
        self._live.queue.add(job)

    async def _resumed(self, record: JobRecord) -> LiveJob:
        script = self._allowlist.script(record.script_id)
        job = self._recorder.hold(
            record, script or ScriptConfig.model_construct(id=record.script_id, path="")
        )
        self._live.all[record.job_id] = job
        self._live.begin(job)
        self._live.take_slot(job)
        assert self._workers is not None
        await job.resume(self._limits, self._workers, self._disk)
        return job


def _mark_interrupted(record: JobRecord, limits: RunnerConfig) -> None:
    """Put the end of a job that ran when its runner ended into the record, with what it printed."""
    now = now_ms()
    mark_ended(record, Status.FAILED, NO_EXIT_CODE, max(0, now - (record.started_ms or now)))
    for stream in STREAMS:
        path = Path(limits.logs_dir, record.log_name(stream))
        try:
            size, tail = read_tail(path, limits.preview_max_bytes)
            preview = decode_tail(tail, is_cut=size > len(tail), ended=True)
        except OSError as error:
            size, preview = 0, f"the log cannot be read: {error}\n"
        setattr(record, f"{stream}_size", size)
        setattr(record, f"{stream}_truncated", size >= limits.max_log_bytes_per_stream)
        setattr(record, f"{stream}_preview", preview)
