"""The file of the history: how it is opened, its tables, how an older one is taken over."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

FILE_MODE = 0o600

JOURNAL_BYTES = 64 * 1024 * 1024
"""What stays of a journal that had to grow beyond it."""

_VERSION_1 = """
CREATE TABLE jobs (
  seq INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL UNIQUE,
  script_id TEXT NOT NULL,
  args TEXT NOT NULL,
  mode TEXT NOT NULL,
  status TEXT NOT NULL,
  code INTEGER,
  created_ms INTEGER NOT NULL,
  started_ms INTEGER,
  ended_ms INTEGER,
  duration_ms INTEGER,
  stdout_size INTEGER NOT NULL,
  stderr_size INTEGER NOT NULL,
  stdout_truncated INTEGER NOT NULL,
  stderr_truncated INTEGER NOT NULL,
  stdout_preview TEXT NOT NULL,
  stderr_preview TEXT NOT NULL
);
-- Keeps finding the live jobs free of the length of the history.
CREATE INDEX live_jobs ON jobs (seq) WHERE ended_ms IS NULL;
"""

_VERSION_2 = """
ALTER TABLE jobs ADD COLUMN end_seq INTEGER;
ALTER TABLE jobs ADD COLUMN worker TEXT;
CREATE TEMP TABLE ends (end_seq INTEGER PRIMARY KEY, seq INTEGER UNIQUE);
INSERT INTO ends (seq) SELECT seq FROM jobs WHERE ended_ms IS NOT NULL ORDER BY ended_ms, seq;
UPDATE jobs SET end_seq = (SELECT end_seq FROM ends WHERE ends.seq = jobs.seq);
DROP TABLE ends;
DROP INDEX IF EXISTS ended_jobs;
-- The same for the jobs that ended longest ago, and the newest ones of a status, a script, both.
CREATE INDEX ended_jobs ON jobs (end_seq) WHERE end_seq IS NOT NULL;
CREATE INDEX jobs_by_status ON jobs (status, seq);
CREATE INDEX jobs_by_script ON jobs (script_id, seq);
CREATE INDEX jobs_by_script_and_status ON jobs (script_id, status, seq);
"""

_VERSION_3 = "ALTER TABLE jobs ADD COLUMN script TEXT"

_MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
"""What makes a file of each version out of one of the version before; the first, out of none."""


VERSION = len(_MIGRATIONS)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the file of the history for this process alone, or begin one.

    Raises:
        sqlite3.Error, OSError: If it cannot be opened, is of a newer version, or is in use.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Made here: SQLite would make it readable for everybody. Its journal takes the mode over.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    for file in (path, path.with_name(f"{path.name}-wal")):
        if file.exists() and stat.S_IMODE(file.stat().st_mode) != FILE_MODE:
            file.chmod(FILE_MODE)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    try:
        # Held until the process ends: two runners on one history would end each other's jobs.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # A commit is safe from a kill; who needs more waits for `Database.sync`.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        connection.execute("BEGIN EXCLUSIVE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, newer than this local runner")
        for migration in _MIGRATIONS[version:]:
            for statement in migration.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection
