"""The SQLite file behind the history, used by threads of its own: nobody else waits for the disk.

One thread does all that is done with the connection; what waits together shares a transaction.
Another one waits for the disk (`sync`), so that nothing else is held up by that.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from local_runner import log
from local_runner.storage.disk import Outbox, settle_from_thread
from local_runner.storage.schema import open_database

T = TypeVar("T")

CHECKPOINT_BYTES = 16 * 1024 * 1024
"""When so much has been written to the journal it is moved into the file. More would make the file
longer and the pause in which nothing else is written; less would wait for the disk more often."""

CHANGE_BYTES = 16 * 1024
"""What a change writes to the journal besides its texts: some pages of the table and the indexes,
which changes that share a transaction share."""


class StoreError(Exception):
    """The history cannot be opened or written; the message says why."""


@dataclasses.dataclass
class _Work:
    """A function of the connection; its result goes to `done`."""

    run: Callable[[sqlite3.Connection], Any]
    writes: int
    """Bytes that it adds to the journal, about; 0 if it only reads."""
    done: asyncio.Future[Any]


class Database:
    """The file and its two threads. It belongs to one event loop."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin one.

        Raises:
            sqlite3.Error, OSError: If it cannot be opened, is of a newer version, or is in use.
            RuntimeError: If the system has no threads to give.
        """
        self._closed = False
        self._journal_bytes = 0
        self._work: Outbox[_Work | None] = Outbox()
        self._syncs: Outbox[asyncio.Future[None] | None] = Outbox()
        self.connection = open_database(path)
        try:
            # Opened now: it is there since the schema was checked, and stays.
            self._journal = os.open(path.with_name(f"{path.name}-wal"), os.O_RDWR | os.O_CLOEXEC)
            self._threads = [
                threading.Thread(target=serve, name="history", daemon=True)
                for serve in (self._serve, self._serve_syncs)
            ]
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.connection.close()
            raise

    async def do(self, run: Callable[[sqlite3.Connection], T], writes: int = 0) -> T:
        """Have a function of the connection called; what it changed is safe from a kill then.

        Args:
            run: The function. It executes one statement.
            writes: The bytes of the texts that it writes; only for `CHECKPOINT_BYTES`.

        Raises:
            StoreError: If it fails; nothing is changed then.
        """
        self._refuse_if_closed()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put(_Work(run, writes, done))
        return await done

    async def sync(self) -> None:
        """Wait until what has been changed by now is on the disk, safe from a loss of power.

        Raises:
            StoreError: If the disk fails.
        """
        self._refuse_if_closed()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._syncs.put(done)
        await done

    async def close(self) -> None:
        """Do what waits and close the file."""
        self._closed = True
        self._work.put(None)
        self._syncs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self.connection.close()
        os.close(self._journal)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreError("the history of jobs is closed")

    def _serve(self) -> None:
        queued = self._work.queue
        while (first := queued.get()) is not None:
            group: list[_Work] = []
            writes = 0
            for work in _waiting(queued, first):
                group.append(work)
                writes += work.writes
                # Bounded, so that the journal is: what is in one transaction is in it as a whole.
                if writes >= CHECKPOINT_BYTES:
                    break
            self._commit(group)
            self._journal_bytes += writes
            if self._journal_bytes >= CHECKPOINT_BYTES:
                self._journal_bytes = 0
                self._checkpoint()

    def _serve_syncs(self) -> None:
        queued = self._syncs.queue
        while (first := queued.get()) is not None:
            group = list(_waiting(queued, first))
            failure: StoreError | None = None
            try:
                os.fsync(self._journal)
            except OSError as error:
                failure = StoreError(f"the history of jobs cannot be written: {error.strerror}")
            settle_from_thread(first.get_loop(), [(done, None, failure) for done in group])

    def _checkpoint(self) -> None:
        """Move the journal into the file; what fails is tried again later."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # Also a MemoryError, which would end the thread and leave everybody waiting.
        except Exception as error:
            log.event("error", message=f"the journal of the history stays long: {error!r}")

    def _commit(self, group: list[_Work]) -> None:
        results: list[Any] = []
        failure: StoreError | None = None
        try:
            results = self._together([work.run for work in group])
        except StoreError as error:
            if len(group) > 1:
                # One that fails must not fail the others, least of all those who only read.
                for work in group:
                    self._commit([work])
                return
            results, failure = [None], error
        outcomes = [
            (work.done, result, failure) for work, result in zip(group, results, strict=True)
        ]
        settle_from_thread(group[0].done.get_loop(), outcomes)

    def _together(self, runs: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Do some work in one transaction; whatever fails is a StoreError."""
        try:
            if len(runs) == 1:
                # A statement by itself is a transaction.
                return [runs[0](self.connection)]
            with self.connection:
                self.connection.execute("BEGIN")
                return [run(self.connection) for run in runs]
        except Exception as error:
            raise StoreError(f"the history of jobs cannot be read or written: {error}") from error


def _waiting(queued: queue.SimpleQueue[T | None], first: T) -> Iterator[T]:
    """The first thing of a queue, and what waits behind it, up to the end."""
    yield first
    while not queued.empty():
        following = queued.get()
        if following is None:
            queued.put(None)
            return
        yield following
