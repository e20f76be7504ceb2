"""The local runner as a server: its socket, uvicorn, its signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from local_runner import log
from local_runner.config import Config, ServerConfig
from local_runner.http.app import application
from local_runner.http.protocol import MAX_HEAD_BYTES, BoundedProtocol
from local_runner.jobs.scheduler import Scheduler
from local_runner.processes.given import Given, take_over
from local_runner.processes.launcher import Unreachable, Workers
from local_runner.processes.local import LocalLauncher
from local_runner.processes.reaping import OrphanReaper, gets_orphans
from local_runner.storage.history import Store, StoreError

BACKLOG = 2048
"""Connections the system keeps while none is accepted; more than a crowd of sync runs."""

KEEP_ALIVE_SECONDS = 30
"""How long an idle connection stays open; longer than clients keep theirs."""

COLLECT_AFTER = 10_000
"""How many new objects there are before the garbage collector looks through them. Python's own 700
come with every few jobs, which took a twentieth of the CPU of a short one."""

GRACEFUL_SECONDS = 5
"""How long responses may take to leave when the runner stops."""

COMPLAINT_SECONDS = 1.0
"""How long the same complaint of the event loop is not logged again; it may come 2,000 times."""


class ServerError(Exception):
    """The server cannot start; the message says why in one line."""


OTHER_HOST = "; use an address of this machine (--host or server.host)"
_OTHER_PORT = "choose another port (--port or server.port)"
_WHAT_TO_DO = {
    errno.EADDRINUSE: f"; stop the program that listens there, perhaps another local runner, or "
    f"{_OTHER_PORT}",
    errno.EADDRNOTAVAIL: OTHER_HOST,
    errno.EACCES: f"; {_OTHER_PORT}, of 1024 or more",
}


def listen(config: ServerConfig) -> socket.socket:
    """Open the listening socket.

    Raises:
        ServerError: If the address cannot be listened on, for instance because it is in use.
    """
    where = f"{config.host}:{config.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        # Not create_server: asyncio sends small responses at once only if the protocol is named.
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ServerError(f"cannot listen on {where}: {reason}{OTHER_HOST}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = _WHAT_TO_DO.get(error.errno or 0, "")
        raise ServerError(f"cannot listen on {where}: {error.strerror}{hint}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket, by its address."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    config: Config,
    listener: socket.socket,
    token: str | None,
    workers_of: Callable[[Config], Workers] | None = None,
) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; then scripts are ended, queued jobs stay queued.

    Args:
        config: What to serve, and to whom.
        listener: See `listen`.
        token: The token every request must carry; None for no token.
        workers_of: Makes the machines that run the scripts; None for this one.

    Raises:
        ServerError: If the history of jobs cannot be opened, or the machines not be reached.
    """
    given = take_over()
    try:
        asyncio.run(_serve(config, listener, token, given, workers_of))
    except (StoreError, Unreachable) as error:
        raise ServerError(str(error)) from error


async def _serve(
    config: Config,
    listener: socket.socket,
    token: str | None,
    given: Given,
    workers_of: Callable[[Config], Workers] | None,
) -> None:
    asyncio.get_running_loop().set_exception_handler(_LoopErrors(listener))
    store = Store(config.database)
    try:
        launcher = LocalLauncher(given)
        if gets_orphans():
            OrphanReaper(launcher.pids).begin()
        workers = workers_of(config) if workers_of else None
        scheduler = Scheduler(config, store, workers, launcher=launcher)
        await _Server(config, scheduler, token, listener).serve(sockets=[listener])
    finally:
        await store.close()
    log.event("stopped")


class _Server(uvicorn.Server):
    """uvicorn that ends the scripts between its last accepted connection and its last response."""

    def __init__(
        self, config: Config, scheduler: Scheduler, token: str | None, listener: socket.socket
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application(config, scheduler, token),
                http=BoundedProtocol,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                # The guard is for HTTP; there is nothing to upgrade to.
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Who calls is who is connected, not whom a header names.
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )
        self._scheduler = scheduler
        self._ready = {"url": url_of(listener), "scripts": len(config.scripts)}
        # Taken out: what a script says there is not about the runner.
        self._supervisor = os.environ.pop("NOTIFY_SOCKET", "")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal; uvicorn's own way would end the process by it, not with 0."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup has it ignored, so that the runner outlives its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._stop, number)
        yield

    def _stop(self, number: signal.Signals) -> None:
        _tell(self._supervisor, "STOPPING=1")
        if self.started:
            log.event("stopping", signal=number.name)
        else:
            log.event("stopping", signal=number.name, message="when the recovery is complete")
            # Now: the recovery would end by starting queued jobs.
            self._early_stop = asyncio.ensure_future(self._scheduler.stop())
        if self.should_exit:
            # The second time somebody is in a hurry.
            self._scheduler.kill()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take up the history, begin to accept, and say so; after a signal stop instead."""
        await self._scheduler.recover()
        if self.should_exit:
            await self._scheduler.stop()
            return
        await super().startup(sockets)
        # What is there now stays: it need not be looked through for garbage again and again.
        gc.freeze()
        # Jobs leave nothing to the collector, connections a dozen objects each.
        gc.set_threshold(COLLECT_AFTER)
        log.event("listening", **self._ready)
        _tell(self._supervisor, "READY=1")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, end the scripts, let the responses leave."""
        for listener in self.servers:
            listener.close()
        for listener_socket in sockets or []:
            listener_socket.close()
        await self._scheduler.stop()
        await super().shutdown(sockets)


def _tell(supervisor: str, state: str) -> None:
    """Tell systemd how it stands, if that started the runner (see sd_notify(3))."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.setblocking(False)
        # An @ stands for the null byte of an abstract address.
        told.sendto(state.encode(), os.fsencode(re.sub("^@", "\0", supervisor)))


class _LoopErrors:
    """Logs complaints of the event loop, each kind at most once in `COMPLAINT_SECONDS`."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._quiet_until: dict[tuple[str, type[Any]], float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        message, cause = str(context.get("message")), context.get("exception")
        if "_start_serving" in message and self._listener.fileno() < 0:
            # asyncio comes back for the callers that it could not accept; that is over.
            return
        if isinstance(cause, OSError) and cause.errno == errno.ENOTCONN:
            # A caller reset its connection while its response was ended.
            return
        # Without the arguments of a callback, so that there are few kinds.
        kind = (message.partition("(")[0], type(cause))
        if loop.time() < self._quiet_until.get(kind, 0.0):
            return
        self._quiet_until[kind] = loop.time() + COMPLAINT_SECONDS
        if isinstance(cause, OSError) and message.startswith("socket.accept()"):
            log.event("error", message=f"callers have to wait: {cause.strerror}")
        else:
            loop.default_exception_handler(context)
