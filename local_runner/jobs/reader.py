"""What may be looked at: jobs, scripts, agents, logs."""

from __future__ import annotations

from pathlib import Path

from local_runner.config import Config
from local_runner.jobs.allowlist import Allowlist, Refused
from local_runner.jobs.listing import (
    MAX_ARGS_SIZE,
    AgentView,
    JobList,
    JobQuery,
    ScriptState,
    list_jobs,
)
from local_runner.jobs.live import LiveJobs
from local_runner.jobs.record import JobRecord, Stream
from local_runner.processes.launcher import Workers
from local_runner.storage.history import Store
from local_runner.storage.log_pages import LogReader, Page


class Reader:
    """Looks at what runs and what has run, and changes nothing; it belongs to one event loop."""

    def __init__(
        self,
        config: Config,
        store: Store,
        allowlist: Allowlist,
        live: LiveJobs,
        workers: Workers | None,
    ) -> None:
        """Begin.

        Args:
            config: The scripts and how they run.
            store: The history.
            allowlist: The scripts as they are now.
            live: The jobs that live.
            workers: The machines that run the scripts; None for this one.
        """
        self._config = config
        self._store = store
        self._allowlist = allowlist
        self._live = live
        self._workers = workers
        self._log_reader = LogReader()

    async def job(self, job_id: str) -> JobRecord | None:
        """A job as it is now, or None if there is none of that id."""
        if live := self._live.all.get(job_id):
            return await live.preview()
        return await self._store.get(job_id)

    async def jobs(self, query: JobQuery) -> JobList:
        """Some of the jobs, live and ended, the newest first.

        Raises:
            Refused: If `before` names no job.
            StoreError: If the history cannot be read.
        """
        below = self._live.last_seq + 1
        if query.before is not None:
            known = await self.job(query.before)
            if known is None:
                raise Refused(
                    "INVALID_ARGS",
                    f"before: job not found: {query.before[:200]}: begin again without before",
                )
            below = known.seq
        matching = {"status": query.status, "script_id": query.script_id}
        # One more than asked for tells whether there are more.
        rows = await self._store.newest(below, query.limit + 1, matching, MAX_ARGS_SIZE)
        return list_jobs(query, below, rows, self._live.all, self._live.begun)

    async def scripts(self) -> list[ScriptState]:
        """The scripts that may be run, in the order of the configuration."""
        await self._allowlist.refresh()
        return [
            ScriptState(
                script,
                script.mode or self._config.runner.default_mode,
                running=self._live.running(script.id),
                queued=self._live.queue.count(script.id),
                able=None if self._workers is None else self._workers.able(script),
            )
            for script in self._allowlist.scripts
        ]

    def agents(self) -> list[AgentView] | None:
        """The machines that run the scripts; None if it is this one alone."""
        return None if self._workers is None else self._workers.agents()

    async def flush(self, job_id: str) -> None:
        """Wait until what a job has printed by now is in the files of its logs."""
        if live := self._live.all.get(job_id):
            await live.flush()

    async def page(self, record: JobRecord, stream: Stream, offset: int, limit: int) -> Page:
        """A page of a job's log, as far as it is in its file; see `flush` and `read_page`."""
        path, ended = Path(self._config.runner.logs_dir, record.log_name(stream)), record.has_ended
        return await self._log_reader.page(path, offset, limit, ended=ended)
