"""The history of jobs in SQLite, one row a job."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from local_runner import log
from local_runner.jobs.record import JobRecord, Status
from local_runner.storage.schema import open_database

T = TypeVar("T")

CHECKPOINT_EVERY = 1000
"""After so many calls the journal is moved into the file."""


class StoreError(Exception):
    """The history cannot be opened or written; the message says why."""


_COLUMNS = [field.name for field in dataclasses.fields(JobRecord)]
_SAVE = (
    f"INSERT OR REPLACE INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"
# The tails of the output are most of a row, and no list shows them.
_LISTED = ["''" if name.endswith("_preview") else name for name in _COLUMNS]
_SELECT_LISTED = f"SELECT {', '.join(_LISTED)} FROM jobs"


def _to_row(record: JobRecord) -> list[Any]:
    values = [getattr(record, name) for name in _COLUMNS]
    values[_COLUMNS.index("args")] = json.dumps(record.args)
    return values


def _records(connection: sqlite3.Connection, query: str, *values: object) -> list[JobRecord]:
    # Read within the store's work, so that what cannot be read is a StoreError as well.
    return [_from_row(row) for row in connection.execute(query, values)]


def _from_row(row: tuple[Any, ...]) -> JobRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["args"] = json.loads(values["args"])
    values["status"] = Status(values["status"])
    for flag in ("stdout_truncated", "stderr_truncated"):
        values[flag] = bool(values[flag])
    return JobRecord(**values)


@dataclasses.dataclass
class _Work:
    """A function of the connection, run by the store's thread; its result goes to `done`."""

    run: Callable[[sqlite3.Connection], Any]
    durable: bool
    done: asyncio.Future[Any]


class Store:
    """The history of jobs.

    What must be on the disk is written by a thread: calls that wait together share one transaction,
    and so one write to the disk. Anything else is done at once unless the thread is at work.

    Attributes:
        last_seq: The highest `seq` in the history when it was opened; 0 when it was empty.
        count: Jobs in the history when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open the history, or begin one.

        Args:
            path: The SQLite file.

        Raises:
            StoreError: If it cannot be opened, is of a newer version, or is in use by another
                local runner.
        """
        self._closed = False
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        try:
            self._connection = open_database(path)
            self.last_seq = self._one("SELECT coalesce(max(seq), 0) FROM jobs")
            self._last_end_seq = self._one(
                "SELECT coalesce(max(end_seq), 0) FROM jobs WHERE end_seq IS NOT NULL"
            )
            self.count = self._one("SELECT count(*) FROM jobs")
        except (sqlite3.Error, OSError) as error:
            hint = "; is another local runner using it?" if "locked" in str(error) else ""
            raise StoreError(
                f"{path}: the history of jobs cannot be opened: {error}{hint}"
            ) from error
        self._using = threading.Lock()
        self._is_durable: bool | None = None
        self._since_checkpoint = 0
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._connection.close()
            raise StoreError(f"{path}: the history of jobs has no thread: {error}") from error

    def _one(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    async def save(self, record: JobRecord, *, durable: bool = False) -> None:
        """Write a job as it is now; one that has ended gets the number of its end.

        Args:
            record: The job; later changes to it are not written by this call.
            durable: Wait until it is on the disk, not only safe from a kill of this process.

        Raises:
            StoreError: If it cannot be written; the history is as it was.
        """
        if record.has_ended and record.end_seq is None:
            self._last_end_seq += 1
            record.end_seq = self._last_end_seq
        row = _to_row(record)
        await self._do(lambda connection: connection.execute(_SAVE, row), durable=durable)

    async def get(self, job_id: str) -> JobRecord | None:
        """Read a job, or None where there is none of that id."""
        query = f"{_SELECT} WHERE job_id = ?"
        found = await self._do(lambda connection: _records(connection, query, job_id))
        return found[0] if found else None

    async def live(self) -> list[JobRecord]:
        """The jobs that have not ended, the oldest first."""
        return await self._do(
            lambda connection: _records(
                connection, f"{_SELECT} WHERE ended_ms IS NULL ORDER BY seq"
            )
        )

    async def newest(
        self, below: int, count: int, matching: Mapping[str, str | None]
    ) -> list[JobRecord]:
        """At most `count` jobs, without previews, the newest first.

        Args:
            below: Only jobs of a lower `seq`.
            count: The most jobs.
            matching: The value that a column must have, None for any.
        """
        wanted = {name: value for name, value in matching.items() if value is not None}
        conditions = " AND ".join([*(f"{name} = ?" for name in wanted), "seq < ?"])
        query = f"{_SELECT_LISTED} WHERE {conditions} ORDER BY seq DESC LIMIT ?"
        return await self._do(
            lambda connection: _records(connection, query, *wanted.values(), below, count)
        )

    async def oldest_ended(self, count: int) -> dict[int, str]:
        """The ids of at most `count` jobs by their `seq`, the one that ended longest ago first."""
        query = "SELECT seq, job_id FROM jobs WHERE end_seq IS NOT NULL ORDER BY end_seq LIMIT ?"
        return await self._do(lambda connection: dict(connection.execute(query, [count])))

    async def delete(self, seqs: Iterable[int]) -> None:
        """Forget jobs.

        Raises:
            StoreError: If they cannot be deleted.
        """
        keys = [(seq,) for seq in seqs]
        await self._do(
            lambda connection: connection.executemany("DELETE FROM jobs WHERE seq = ?", keys)
        )

    async def close(self) -> None:
        """Write what waits and close the file."""
        self._closed = True
        self._work.put(None)
        self._thread.join()
        self._connection.close()

    async def _do(self, run: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        if self._closed:
            raise StoreError("the history of jobs is closed")
        self._tidy_up()
        if not durable and self._using.acquire(blocking=False):
            # Nothing is under way: done here it takes a tenth of the time of a way to the thread.
            try:
                result: T = self._together([run], durable=False)[0]
            finally:
                self._using.release()
            return result
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put(_Work(run, durable, done))
        return await done

    def _tidy_up(self) -> None:
        """Now and then have the thread move the journal into the file, which waits for the disk."""
        self._since_checkpoint += 1
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self._since_checkpoint = 0
            self._work.put(None)

    def _serve(self) -> None:
        while True:
            group = [self._work.get()]
            while not self._work.empty():
                group.append(self._work.get())
            with self._using:
                self._commit([work for work in group if work is not None])
                if None in group:
                    self._checkpoint()
            if self._closed and self._work.empty():
                return

    def _checkpoint(self) -> None:
        """Move the journal into the file; what fails is tried again later."""
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # Also a MemoryError, which would end the thread and leave everybody waiting.
        except Exception as error:
            log.event("error", message=f"the journal of the history stays long: {error!r}")

    def _commit(self, group: list[_Work]) -> None:
        if not group:
            return
        results: list[Any]
        try:
            durable = any(work.durable for work in group)
            results = self._together([work.run for work in group], durable=durable)
        except StoreError as error:
            if len(group) > 1:
                # One that fails must not fail the others, least of all those who only read.
                for work in group:
                    self._commit([work])
                return
            results = [error]
        for work, result in zip(group, results, strict=True):
            work.done.get_loop().call_soon_threadsafe(_settle, work.done, result)

    def _together(
        self, runs: list[Callable[[sqlite3.Connection], Any]], *, durable: bool
    ) -> list[Any]:
        """Do some work in one transaction; whatever fails is a StoreError."""
        try:
            if durable is not self._is_durable:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._is_durable = durable
            with self._connection:
                self._connection.execute("BEGIN")
                return [run(self._connection) for run in runs]
        except Exception as error:
            raise StoreError(f"the history of jobs cannot be read or written: {error}") from error


def _settle(done: asyncio.Future[Any], result: Any) -> None:
    if done.cancelled():
        return
    if isinstance(result, StoreError):
        done.set_exception(result)
    else:
        done.set_result(result)
