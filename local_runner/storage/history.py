"""The history of jobs in SQLite, one row a job."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import operator
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local_runner.jobs.record import JobRecord, Status, Stream
from local_runner.storage.database import CHANGE_BYTES, Database, StoreError

__all__ = ["Store", "StoreError"]

_COLUMNS = [field.name for field in dataclasses.fields(JobRecord)]
_VALUES = operator.attrgetter(*_COLUMNS)
_ARGS = _COLUMNS.index("args")
_FIXED = {"seq", "job_id", "script_id", "args", "mode", "created_ms"}
"""What never changes; to leave it alone spares an index."""
_SAVE = (
    f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
    " ON CONFLICT (seq) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _FIXED)
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"
# The tails of the output are most of a row, and no list shows them.
_LISTED = ["''" if name.endswith("_preview") else name for name in _COLUMNS]
_SELECT_LISTED = f"SELECT {', '.join(_LISTED)} FROM jobs"


def _to_row(record: JobRecord) -> list[Any]:
    values = list(_VALUES(record))
    values[_ARGS] = json.dumps(record.args)
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


NO_END = 2**63 - 1
"""Above the numbers of all ends."""


class Store:
    """The history of jobs.

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
        try:
            self._database = Database(path)
            self.last_seq = self._one("SELECT coalesce(max(seq), 0) FROM jobs")
            self._last_end_seq = self._one(
                "SELECT coalesce(max(end_seq), 0) FROM jobs WHERE end_seq IS NOT NULL"
            )
            self.count = self._one("SELECT count(*) FROM jobs")
        except (sqlite3.Error, OSError, RuntimeError) as error:
            used = "; stop the program that uses it, perhaps another local runner"
            hint = used if "locked" in str(error) else ""
            raise StoreError(
                f"{path}: the history of jobs cannot be opened: {error}{hint}"
            ) from error

    def _one(self, query: str) -> int:
        return int(self._database.connection.execute(query).fetchone()[0])

    async def save(self, record: JobRecord) -> None:
        """Write a job as it is now; one that has ended gets the number of its end.

        It is safe from a kill of this process then; see `sync` for more.

        Args:
            record: The job; later changes to it are not written by this call.

        Raises:
            StoreError: If it cannot be written; the history is as it was.
        """
        if record.has_ended and record.end_seq is None:
            self._last_end_seq += 1
            record.end_seq = self._last_end_seq
        row = _to_row(record)
        texts = record.stdout_preview, record.stderr_preview, row[_ARGS]
        size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        await self._database.do(
            lambda connection: connection.execute(_SAVE, row), CHANGE_BYTES + size
        )

    async def get(self, job_id: str) -> JobRecord | None:
        """Read a job, or None if there is none of that id."""
        query = f"{_SELECT} WHERE job_id = ?"
        found = await self._database.do(lambda connection: _records(connection, query, job_id))
        return found[0] if found else None

    async def live(self) -> list[JobRecord]:
        """The jobs that have not ended, the oldest first."""
        return await self._database.do(
            lambda connection: _records(
                connection, f"{_SELECT} WHERE ended_ms IS NULL ORDER BY seq"
            )
        )

    async def newest(
        self, below: int, count: int, matching: Mapping[str, str | None], args_size: int
    ) -> list[JobRecord]:
        """At most `count` jobs, without previews, the newest first.

        They end with the first by which their arguments have more than so many characters.

        Args:
            below: Only jobs of a lower `seq`.
            count: The most jobs.
            matching: The value that a column must have, None for any.
            args_size: The most characters.
        """
        wanted = {name: value for name, value in matching.items() if value is not None}
        conditions = " AND ".join([*(f"{name} = ?" for name in wanted), "seq < ?"])
        query = f"{_SELECT_LISTED} WHERE {conditions} ORDER BY seq DESC LIMIT ?"

        def read(connection: sqlite3.Connection) -> list[JobRecord]:
            found, size = [], 0
            with contextlib.closing(
                connection.execute(query, [*wanted.values(), below, count])
            ) as rows:
                for row in rows:
                    found.append(_from_row(row))
                    size += found[-1].args_size
                    if size > args_size:
                        break
            return found

        return await self._database.do(read)

    async def oldest_ended(self, count: int, before: int | None = None) -> dict[int, str]:
        """The ids of some jobs by their `seq`, the one that ended longest ago first.

        Args:
            count: The most jobs.
            before: The number of an end; only jobs that ended before that. None for any.
        """
        query = "SELECT seq, job_id FROM jobs WHERE end_seq < ? ORDER BY end_seq LIMIT ?"
        values = [NO_END if before is None else before, count]
        return await self._database.do(lambda connection: dict(connection.execute(query, values)))

    async def mark_truncated(self, seq: int, stream: Stream) -> None:
        """Note that something is missing in a log of a job, which may have ended long ago.

        Raises:
            StoreError: If it cannot be written.
        """
        query = f"UPDATE jobs SET {stream}_truncated = 1 WHERE seq = ?"
        await self._database.do(lambda connection: connection.execute(query, [seq]), CHANGE_BYTES)

    async def delete(self, seqs: Iterable[int]) -> None:
        """Forget jobs.

        Raises:
            StoreError: If they cannot be deleted.
        """
        keys = list(seqs)
        query = f"DELETE FROM jobs WHERE seq IN ({', '.join('?' * len(keys))})"
        await self._database.do(lambda connection: connection.execute(query, keys), CHANGE_BYTES)

    async def sync(self) -> None:
        """Wait until what has been saved by now is on the disk, safe from a loss of power.

        Raises:
            StoreError: If the disk fails.
        """
        await self._database.sync()

    async def close(self) -> None:
        """Write what waits and close the file."""
        await self._database.close()
