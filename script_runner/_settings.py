"""The times and limits of the library, each with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_URL = "http://localhost:3000"
"""Where a script-runner listens on this machine by default."""

CONTAINER_HOST = "host.docker.internal"
"""The name by which a container reaches the machine it runs on."""

LONGEST_TIMEOUT_SECONDS = 2_000_000
"""The longest timeout of a call, 23 days; a socket takes none of more than 2**31 ms."""

MAX_TARGET_BYTES = 64 * 1024
"""The longest path and query of a request; no server takes a longer one."""

MAX_PAGE_BYTES = 1024 * 1024
"""The largest page of a log that the API gives."""

DEFAULT_PAGE_BYTES = 64 * 1024
"""The page that the API gives if no limit is named; no full page brings less."""


@dataclass(frozen=True)
class Settings:
    """Times in seconds and limits of a `ScriptRunner`; the defaults are right for nearly everyone.

    Attributes:
        connect_seconds: Timeout for a connection, all addresses of the host and TLS together.
        response_seconds: Timeout for the whole of a call but a sync run.
        sync_run_seconds: Timeout for a sync run, whose response comes when the script has ended.
        wait_seconds: Timeout for `wait`.
        keep_alive_seconds: How long an idle connection is kept. Servers close theirs after 5 s
            (Node's default), and a request on a connection that is being closed is lost.
        max_idle_connections: The most idle connections kept. Those in use are not limited: 200
            sync runs that wait must not keep a cancel from being sent.
        max_response_bytes: The largest response. A log page of 1 MiB takes six times as much if
            each of its bytes is escaped in JSON.
        first_poll_seconds: How long after the first poll of a job the second one comes.
        poll_share: The time between two polls as a share of the time waited: the end of a job is
            noticed at most so late.
        max_poll_seconds: The longest time between two polls.
        last_poll_seconds: How long a poll may take although the timeout of the wait is over; a
            wait of no time polls once.
        missing_output_seconds: How long the output of a job that has ended is tried for while
            the runner is away, as in a restart.
        page_bytes: The size of the pages in which a log is read; the largest of the API.
        line_start_bytes: How far apart the remembered line starts of a log are: what a page of
            lines reads too much.
        walk_seconds: How old the rest of a page may be that is given to who reads the lines of a
            log in turn; who takes longer from one call to the next is given none.
        max_line_starts: The most line starts remembered of a log, 1 MiB of memory; then every
            second one is forgotten.
        max_logs: The most logs whose line starts are remembered.
        max_open_line: The most characters of one line that `wait` passes on.
    """

    connect_seconds: float = 5.0
    response_seconds: float = 30.0
    sync_run_seconds: float = 300.0
    wait_seconds: float = 300.0
    keep_alive_seconds: float = 3.0
    max_idle_connections: int = 20
    max_response_bytes: int = 32 * 1024 * 1024
    first_poll_seconds: float = 0.05
    poll_share: float = 0.05
    max_poll_seconds: float = 5.0
    last_poll_seconds: float = 5.0
    missing_output_seconds: float = 60.0
    page_bytes: int = MAX_PAGE_BYTES
    line_start_bytes: int = 8 * 1024
    walk_seconds: float = 1.0
    max_line_starts: int = 65_536
    max_logs: int = 32
    max_open_line: int = 64 * 1024
