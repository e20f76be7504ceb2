"""A disk that hangs: nobody else waits for it, memory stays bounded, nothing is lost in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from local_runner.config import load
from local_runner.http import large
from local_runner.jobs.dispatcher import Dispatcher
from local_runner.jobs.record import JobRecord, Status
from local_runner.jobs.scheduler import Scheduler
from local_runner.storage import database, job_logs, log_file, log_pages
from local_runner.storage import disk as threads
from local_runner.storage.history import Store
from scripts.runner_process import RunnerProcess
from tests.local_runner.served import ENOUGH, Served, serving

FLOOD_BYTES = 8 * 1024 * 1024
SCRIPTS = {
    "prints": "#!/bin/sh\necho hello\n",
    "waits": '#!/bin/sh\ntouch "$1"\nexec sleep 300\n',
    "touches": '#!/bin/sh\ntouch "$1"\n',
    "floods": f"#!/bin/sh\nhead -c {FLOOD_BYTES} /dev/zero\n",
}


class HangingDisk:
    """Holds calls of a function of `os` up until it is let go, all or those with some arguments."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        module: Any,
        name: str,
        when: Callable[..., bool] = lambda *_: True,
    ) -> None:
        self.hangs = threading.Event()
        self.held = 0
        self._when = when
        self._goes_on = threading.Event()
        self._call: Callable[..., Any] = getattr(os, name)
        system = type("System", (), {"__getattr__": lambda _, other: getattr(os, other)})()
        setattr(system, name, self._hang)
        monkeypatch.setattr(module, "os", system)

    def _hang(self, *args: Any) -> Any:
        if self._when(*args):
            self.held += 1
            self.hangs.set()
            assert self._goes_on.wait(ENOUGH)
        return self._call(*args)

    def let_go(self) -> None:
        """Let all calls go on, and all later ones."""
        self._goes_on.set()


@contextlib.asynccontextmanager
async def served(folder: Path, disk: HangingDisk) -> AsyncIterator[Served]:
    async with serving(folder, SCRIPTS, maxConcurrent=threads.THREADS + 1) as runner:
        try:
            yield runner
        finally:
            disk.let_go()


async def request(runner: Served, method: str, path: str, body: object = None) -> dict[str, Any]:
    """One request on a connection of its own."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    caller = await runner.call(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    _, response = await caller.response()
    return dict(json.loads(response))


def run(runner: Served, script_id: str, *args: str, mode: str = "sync") -> Any:
    """`POST /run`."""
    body = {"scriptId": script_id, "args": args, "mode": mode}
    return asyncio.create_task(request(runner, "POST", "/run", body))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(ENOUGH):
        while not condition():
            await asyncio.sleep(0.01)


async def test_nobody_else_waits_for_a_log_that_cannot_be_written_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch, log_file, "write")
    async with served(tmp_path, disk) as runner:
        hangs = run(runner, "prints")
        await until(disk.hangs.is_set)

        assert await request(runner, "GET", "/healthz") == {"ok": True}
        assert (await run(runner, "touches", str(tmp_path / "ran")))["status"] == "succeeded"
        listed = (await request(runner, "GET", "/jobs"))["jobs"]
        shown = await request(runner, "GET", f"/jobs/{listed[-1]['jobId']}")
        assert (shown["status"], shown["stdoutPreview"]) == ("running", "hello\n")
        assert not hangs.done()
        large = [
            asyncio.create_task(request(runner, "GET", f"/jobs/{job['jobId']}/logs?limit=1000000"))
            for job in reversed(listed)
        ]
        assert (await large[1])["data"] == ""
        assert not large[0].done()

        disk.let_go()
        assert (await large[0])["data"] == "hello\n"
        job = await hangs
        page = await request(runner, "GET", f"/jobs/{job['jobId']}/logs")
        assert (job["status"], page["data"]) == ("succeeded", "hello\n")


async def test_jobs_start_and_end_while_as_many_logs_hang_as_there_are_threads_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch, log_file, "write")
    async with served(tmp_path, disk) as runner:
        for _ in range(threads.THREADS):
            run(runner, "prints")
        await until(lambda: disk.held == threads.THREADS)
        canceled = run(runner, "waits", str(tmp_path / "first"))
        await until((tmp_path / "first").exists)
        job_id = (await request(runner, "GET", "/jobs"))["jobs"][0]["jobId"]

        assert (await request(runner, "POST", f"/jobs/{job_id}/cancel"))["ok"]
        assert (await canceled)["status"] == "canceled"

        scripts = json.loads((tmp_path / "scripts.json").read_text())
        for script in scripts["scripts"]:
            script["timeoutSec"] = 1
        (tmp_path / "scripts.json").write_text(json.dumps(scripts))
        ended = await run(runner, "waits", str(tmp_path / "second"))
        assert ended["status"] == "timed_out"


@pytest.mark.parametrize("limit", [1000, 1_000_000])
async def test_reads_of_a_log_that_hang_hold_up_neither_pages_nor_logs_of_other_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(large, "MAX_UNSENT_BYTES", 2 * limit)
    disk = HangingDisk(monkeypatch, log_pages, "pread", when=lambda *args: args[2] == 1)
    async with served(tmp_path, disk) as runner:
        hanging, other = [f"/jobs/{(await run(runner, 'prints'))['jobId']}/logs" for _ in range(2)]
        head = f"GET {hanging}?offset=1&limit={limit} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        callers = [await runner.call(head.encode()) for _ in range(2 * threads.THREADS)]
        await until(disk.hangs.is_set)
        assert await request(runner, "GET", "/healthz") == {"ok": True}

        assert (await request(runner, "GET", f"{other}?limit={limit}"))["data"] == "hello\n"
        assert (await run(runner, "prints"))["status"] == "succeeded"

        disk.let_go()
        for caller in callers:
            assert json.loads((await caller.response())[1])["data"] == "ello\n"


async def test_a_script_waits_while_much_of_its_output_waits_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch, log_file, "write")
    async with serving(tmp_path, SCRIPTS, maxLogBytesPerStream=2 * FLOOD_BYTES) as runner:
        ending = run(runner, "floods")
        await until(disk.hangs.is_set)
        most = job_logs.MOST_WAITING_BYTES + 64 * 1024
        (listed,) = (await request(runner, "GET", "/jobs"))["jobs"]
        sizes = set()
        for _ in range(50):
            sizes.add((await request(runner, "GET", f"/jobs/{listed['jobId']}"))["stdoutSize"])
        assert max(sizes) <= most

        disk.let_go()
        job = await ending

    assert (job["status"], job["stdoutSize"], job["stdoutTruncated"]) == (
        "succeeded", FLOOD_BYTES, False
    )  # fmt: skip
    assert (tmp_path / "logs" / job["stdoutRef"]).stat().st_size == FLOOD_BYTES


class HeldPreviews:
    """A job that ends when it is let, and the threads that make its previews, held up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, of_the_end: bool) -> None:
        self.hang, self.go_on = threading.Event(), threading.Event()
        self._folder = folder
        make = job_logs.LogWriter.preview

        def preview(writer: job_logs.LogWriter, *, ended: bool) -> str:
            made = make(writer, ended=ended)
            if ended == of_the_end:
                self.hang.set()
                assert self.go_on.wait(ENOUGH)
            return made

        monkeypatch.setattr(job_logs.LogWriter, "preview", preview)

    @contextlib.asynccontextmanager
    async def job(self) -> AsyncIterator[tuple[Served, Any, str]]:
        """The runner, the request that runs the job, and the path of the job; it prints `one`."""
        lasts = '#!/bin/sh\necho one\nuntil [ -e "$1" ]; do sleep 0.02; done\necho two\n'
        limit = job_logs.SMALL_BYTES + 1
        async with serving(self._folder, {"lasts": lasts}, previewMaxBytes=limit) as runner:
            running = run(runner, "lasts", str(self._folder / "end"))
            await until(lambda: any((self._folder / "logs").glob("*.log")))
            (job,) = (await request(runner, "GET", "/jobs"))["jobs"]
            yield runner, running, f"/jobs/{job['jobId']}"

    def end(self) -> None:
        """Let the script end."""
        (self._folder / "end").touch()


async def test_a_slow_poll_changes_nothing_of_a_job_that_has_ended_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldPreviews(monkeypatch, tmp_path, of_the_end=False)
    async with held.job() as (runner, running, path):
        poll = asyncio.create_task(request(runner, "GET", path))
        await until(held.hang.is_set)
        held.end()
        ended = await running
        held.go_on.set()
        shown = await poll

    assert (ended["status"], ended["stdoutPreview"]) == ("succeeded", "one\ntwo\n")
    assert (shown["status"], shown["stdoutPreview"]) == ("succeeded", "one\ntwo\n")


async def test_a_page_that_was_read_before_a_job_printed_more_and_ended_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasts = '#!/bin/sh\necho one\nuntil [ -e "$1" ]; do sleep 0.02; done\necho two\n'
    disk = HangingDisk(monkeypatch, log_pages, "pread")
    async with serving(tmp_path, {"lasts": lasts}) as runner:
        running = run(runner, "lasts", str(tmp_path / "end"))
        await until(lambda: any((tmp_path / "logs").glob("*.log")))
        (job,) = (await request(runner, "GET", "/jobs"))["jobs"]
        reading = asyncio.create_task(request(runner, "GET", f"/jobs/{job['jobId']}/logs"))
        await until(disk.hangs.is_set)
        (tmp_path / "end").touch()
        assert (await running)["stdoutSize"] == len("one\ntwo\n")
        disk.let_go()
        page = await reading

    assert (page["data"], page["truncated"]) == ("one\n", False)


async def test_a_job_has_not_ended_before_its_previews_are_those_of_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldPreviews(monkeypatch, tmp_path, of_the_end=True)
    async with held.job() as (runner, running, path):
        held.end()
        await until(held.hang.is_set)
        shown = await request(runner, "GET", path)
        held.go_on.set()
        ended = await running

    assert shown["status"] == "running"
    assert (ended["status"], ended["stdoutPreview"]) == ("succeeded", "one\ntwo\n")


async def test_a_job_runs_while_its_record_is_on_the_way_to_the_disk_but_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HangingDisk(monkeypatch, database, "fsync")
    async with served(tmp_path, disk) as runner:
        accepted = run(runner, "touches", str(tmp_path / "ran"), mode="async")
        await until((tmp_path / "ran").exists)
        # Nor does it hold up others, or its slot.
        assert (await run(runner, "prints"))["status"] == "succeeded"
        assert not accepted.done()

        disk.let_go()
        assert (await accepted)["ok"]


async def test_a_job_that_does_not_get_to_the_disk_is_refused_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "input/output error")

    scripts = {"waits": "#!/bin/sh\necho ready\nexec sleep 300\n"}
    async with serving(tmp_path, scripts) as runner:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            response = await run(runner, "waits", mode="async")
        assert response["error"]["code"] == "INTERNAL_ERROR"
        (job,) = (await request(runner, "GET", "/jobs"))["jobs"]
        while job["status"] == "running":
            job = await request(runner, "GET", f"/jobs/{job['jobId']}")
        assert job["status"] == "canceled"


async def test_a_cancel_of_a_job_that_waits_is_on_the_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, SCRIPTS, maxConcurrent=1) as runner:
        await run(runner, "waits", str(tmp_path / "begun"), mode="async")
        job_id = (await run(runner, "prints", mode="async"))["jobId"]
        disk = HangingDisk(monkeypatch, database, "fsync")
        cancel = asyncio.create_task(request(runner, "POST", f"/jobs/{job_id}/cancel"))
        await until(disk.hangs.is_set)
        seen = await request(runner, "GET", f"/jobs/{job_id}")
        assert not cancel.done()

        disk.let_go()
        assert [(await cancel)["status"], seen["status"]] == ["canceled", "canceled"]


class Elsewhere:
    """Other machines, of which one is about to start a job when the runner stops."""

    scripts_go_on = True

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None

    async def open(self, dispatcher: Dispatcher, _: object) -> None:
        self.dispatcher = dispatcher

    async def close(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("cancels", ["before", "after", "never"])
async def test_a_cancel_of_a_job_that_is_about_to_start_elsewhere_holds_if_the_runner_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancels: str
) -> None:
    RunnerProcess(tmp_path, SCRIPTS)
    config = load(tmp_path / "config.json")
    store, workers = Store(config.database), Elsewhere()
    scheduler = Scheduler(config, store, workers)  # type: ignore[arg-type]
    await scheduler.recover()
    job_id = (await scheduler.run("prints", [], "async")).record.job_id
    disk = HangingDisk(monkeypatch, database, "fsync")
    starting = asyncio.create_task(workers.dispatcher.start_on(job_id, "one.00000000"))
    await until(disk.hangs.is_set)
    stopping = asyncio.create_task(scheduler.stop())
    look = scheduler.cancel if cancels == "before" else scheduler.reader.job
    record = await look(job_id)
    seen = record and record.status
    disk.let_go()
    started, _ = await asyncio.gather(starting, stopping)
    if cancels == "after":
        # Callers that are connected are served until all scripts have ended.
        await scheduler.cancel(job_id)
    kept = await store.get(job_id)
    await store.close()

    assert (seen, started) == ("running", False)
    assert kept is not None
    assert kept.status == ("queued" if cancels == "never" else "canceled")


async def test_a_job_that_has_its_turn_as_the_runner_stops_stays_queued_as_it_was_accepted(
    tmp_path: Path,
) -> None:
    RunnerProcess(tmp_path, SCRIPTS)
    config = load(tmp_path / "config.json")
    store = Store(config.database)
    scheduler = Scheduler(config, store, Elsewhere())  # type: ignore[arg-type]
    await scheduler.recover()
    args = [str(tmp_path / "ran")]
    job_id = (await scheduler.run("touches", args, "async")).record.job_id
    await scheduler.stop()
    accepted = await store.get(job_id)

    scheduler = Scheduler(config, store)
    await scheduler.recover()
    await scheduler.stop()

    kept = await store.get(job_id)
    await store.close()
    assert accepted is not None
    assert kept == accepted
    assert (accepted.status, Path(*args).exists()) == ("queued", False)


@pytest.mark.parametrize("preview", ["x" * 1024 * 1024, "😀" * 256 * 1024], ids=["ascii", "emoji"])
async def test_long_previews_do_not_make_the_journal_long(tmp_path: Path, preview: str) -> None:
    store = Store(tmp_path / "jobs.sqlite3")

    async def save(seq: int) -> None:
        job = JobRecord(seq, f"job_{seq}", "hello", [], "sync", Status.SUCCEEDED, 1, ended_ms=1)
        job.stdout_preview = job.stderr_preview = preview
        await store.save(job)

    await asyncio.gather(*map(save, range(1, 61)))

    journal = (tmp_path / "jobs.sqlite3-wal").stat().st_size
    await store.close()
    assert journal < 3 * database.CHECKPOINT_BYTES


async def test_what_a_disk_was_given_is_done_also_if_nobody_holds_it_any_more() -> None:
    assert await asyncio.wait_for(threads.Disk().run(lambda: "done"), timeout=30) == "done"
