"""Provokes every message of a local runner that runs: of its answers, its jobs, its log.

It runs in this process, so that the lines that make a message can be seen to be run.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, cast
from unittest import mock

import httpx
import pytest

from local_runner.config import Config, load
from local_runner.http.access import MAX_BODY_BYTES
from local_runner.http.app import application
from local_runner.jobs.record import JobRecord
from local_runner.jobs.scheduler import Runner
from local_runner.storage.history import Store, StoreError
from local_runner.storage.job_logs import LogWriter
from tests.docs.client_messages import ask
from tests.docs.messages import CREDENTIAL, Message, said_by
from tests.docs.runner_helpers import logged, write
from tests.support.misbehaving_server import MisbehavingServer, Step, json_answer
from tests.support.waiting import WAIT_SECONDS

CODES_OF_THE_WIRE = {
    "SCRIPT_NOT_FOUND", "INVALID_ARGS", "JOB_NOT_FOUND", "NOT_FOUND", "INTERNAL_ERROR"
}  # fmt: skip
"""Codes whose sentences are those of the original; what to do is added by the client."""

MAX_ARG = 2_000_000
"""Longer than a system lets an argument be, shorter than a body may be."""


def runner_messages(folder: Path) -> dict[str, Message]:
    """Every message, by a name that says how it was provoked.

    Args:
        folder: An empty folder.
    """
    messages: dict[str, Message] = {}
    for collect in (answers_over_http, messages_of_jobs, messages_of_the_log):
        own_folder = folder / collect.__name__
        own_folder.mkdir()
        messages |= asyncio.run(asyncio.wait_for(collect(own_folder), WAIT_SECONDS))
    return messages


@contextlib.asynccontextmanager
async def client_of(
    config: Config, runner: Runner, token: str | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application of a runner, without a server between them."""
    app = application(config, runner, token)
    transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@contextlib.asynccontextmanager
async def served(config: Config) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a runner that runs jobs; they are ended on leaving."""
    store = Store(config.database)
    runner = Runner(config, store)
    try:
        await runner.recover()
        async with client_of(config, runner) as client:
            yield client
    finally:
        await runner.stop()
        await store.close()


def configured(folder: Path, scripts: Mapping[str, str], **runner: object) -> Config:
    """A configuration with scripts, of which the text is given by their ids."""
    for script_id, text in scripts.items():
        path = folder / f"{script_id}.sh"
        path.write_text(text)
        path.chmod(0o755)
    rules = {"maxItems": 2, "itemPattern": "^[a-z]*$", "itemMaxLength": MAX_ARG}
    listed = [{"id": name, "path": f"./{name}.sh", "args": rules} for name in scripts]
    return load(write(folder, {"runner": runner, "scripts": listed}))


def get(url: str, **headers: str) -> dict[str, Any]:
    """A request, as `httpx.AsyncClient.request` takes it."""
    return {"method": "GET", "url": url, "headers": headers}


def post_run(content: bytes, **headers: str) -> dict[str, Any]:
    """`POST /run` with any body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"method": "POST", "url": "/run", "content": content, "headers": named}


def run(script_id: str, *args: object, mode: str = "sync") -> dict[str, Any]:
    """`POST /run` as it should be."""
    body = {"scriptId": script_id, "args": args, "mode": mode}
    return {"method": "POST", "url": "/run", "json": body}


HELLO = {"hello": "#!/bin/sh\necho hello\n"}
JSON = "application/json"
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such route": (get("/nope"), "NOT_FOUND", "GET /nope"),
    "no such job": (get("/jobs/job_7"), "JOB_NOT_FOUND", "job_7"),
    "no such script": (run("gone"), "SCRIPT_NOT_FOUND", "gone"),
    "no script named": (post_run(b"{}", content_type=JSON), "SCRIPT_NOT_FOUND", "scriptId"),
    "args that are no array": (
        post_run(b'{"scriptId": "hello", "args": null}', content_type=JSON),
        "INVALID_ARGS",
        "args",
    ),
    "too many args": (run("hello", "a", "b", "c"), "INVALID_ARGS", "args"),
    "an arg that is no string": (run("hello", "a", 1), "INVALID_ARGS", "arg[1]"),
    "an arg with a null byte": (run("hello", "\0"), "INVALID_ARGS", "arg[0]"),
    "an arg that is too long": (run("hello", "a" * (MAX_ARG + 1)), "INVALID_ARGS", "arg[0]"),
    "an arg of another form": (run("hello", "A"), "INVALID_ARGS", "arg[0]"),
    "a body that is no JSON": (post_run(b"{", content_type=JSON), "INTERNAL_ERROR", "json body"),
    "a body with NaN": (post_run(b"[NaN]", content_type=JSON), "INTERNAL_ERROR", "json body"),
    "another host": (get("/healthz", host="evil.example"), "FORBIDDEN_HOST", "evil.example"),
    "another origin": (
        get("/healthz", origin="http://evil.example"),
        "FORBIDDEN_ORIGIN",
        "http://evil.example",
    ),
    "another content type": (
        post_run(b"{}", content_type="text/plain"),
        "UNSUPPORTED_MEDIA_TYPE",
        "text/plain",
    ),
    "no content type": (post_run(b"{}"), "UNSUPPORTED_MEDIA_TYPE", "content type"),
    "a large body": (
        post_run(b" " * (MAX_BODY_BYTES + 1), content_type=JSON),
        "BODY_TOO_LARGE",
        str(MAX_BODY_BYTES),
    ),
}


class BrokenRunner:
    """In the place of a runner that fails when it is asked for a job."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    async def job(self, _: str) -> JobRecord | None:
        """Fail."""
        raise self._failure


FOUND = tuple[httpx.Response, str, str]
"""An answer, the code it must have, and what its message must name."""


def broken(number: int) -> OSError:
    """An error of the system."""
    return OSError(number, os.strerror(number))


BROKEN: dict[str, tuple[Exception, str, str]] = {
    "no open files": (broken(errno.EMFILE), "UNAVAILABLE", "the runner"),
    "a broken disk": (broken(errno.EIO), "INTERNAL_ERROR", os.strerror(errno.EIO)),
    "a broken history": (StoreError("the history is broken"), "INTERNAL_ERROR", "the history"),
    "what nobody foresaw": (RuntimeError("never seen"), "INTERNAL_ERROR", "the runner"),
}


async def answers_over_http(folder: Path) -> dict[str, Message]:
    """Every refusal of the API and the guard, as it is and as the client shows it."""
    config = configured(folder, HELLO)
    found: dict[str, FOUND] = {}
    with logged():
        async with served(config) as client:
            for name, (request, code, named) in REFUSED.items():
                found[name] = (await client.request(**request), code, named)
            job_id = (await client.request(**run("hello"))).json()["jobId"]
            answer = await client.get(f"/jobs/{job_id}/logs?stream=both")
            found["another stream"] = (answer, "INVALID_ARGS", "stream")
            (log := folder / "logs" / f"{job_id}.stdout.log").unlink()
            log.mkdir()
            answer = await client.get(f"/jobs/{job_id}/logs")
            found["a log that is a folder"] = (answer, "INTERNAL_ERROR", log.name)
        async with client_of(config, cast(Runner, None), CREDENTIAL) as client:
            answer = await client.get("/healthz", headers={"authorization": "Bearer guess"})
            found["no token"] = (answer, "UNAUTHORIZED", "token")
        for name, (failure, code, named) in BROKEN.items():
            async with client_of(config, cast(Runner, BrokenRunner(failure))) as client:
                found[name] = (await client.get("/jobs/job_1"), code, named)
        found |= await answers_of_a_runner_that_stops(folder)
    messages: dict[str, Message] = {}
    for name, (answer, code, named) in found.items():
        error = answer.json()["error"]
        assert error["code"] == code, (name, error)
        messages[name] = Message(error["message"], (named,), code in CODES_OF_THE_WIRE)
        shown = shown_by_the_client(answer)
        messages[f"{name}, as the client shows it"] = Message(
            shown, ("GET /jobs/job_1", code, named)
        )
    return messages


async def answers_of_a_runner_that_stops(folder: Path) -> dict[str, FOUND]:
    """What is answered to a run that waits in the queue then, and to one that comes later."""
    sleeps = {"sleeps": "#!/bin/sh\nexec sleep 60\n"}
    config = configured(folder, {**HELLO, **sleeps}, jobStoreFile="./stops.json")
    store = Store(config.database)
    runner = Runner(config, store)
    await runner.recover()
    async with client_of(config, runner) as client:
        await client.request(**run("sleeps", mode="async"))
        waiting = asyncio.create_task(client.request(**run("hello")))
        while (await store.live())[-1].script_id != "hello":
            await asyncio.sleep(0)
        await runner.stop()
        late = await client.request(**run("hello"))
        await store.close()
        lost = await client.get("/jobs/job_1")
        return {
            "a runner that stops": (await waiting, "UNAVAILABLE", "job_"),
            "a runner that has stopped": (late, "UNAVAILABLE", "the runner"),
            "a history that is closed": (lost, "INTERNAL_ERROR", "the history"),
        }


def shown_by_the_client(answer: httpx.Response) -> str:
    """What the client says to an error of the local runner."""
    steps: list[Step] = [json_answer(answer.status_code, answer.json())]
    with MisbehavingServer(lambda _: steps) as fake:
        return said_by(ask, fake.url)


# -- jobs that cannot run, and what is logged of trouble


async def messages_of_jobs(folder: Path) -> dict[str, Message]:
    """Why a job failed through no fault of its script, as its stderr shows it."""
    config = configured(
        folder,
        {
            **HELLO,
            "missing": "",
            "forbidden": "#!/bin/sh\n",
            "no-program": "echo hello\n",
            "no-interpreter": "#!/no/such/interpreter\n",
        },
    )
    (folder / "missing.sh").unlink()
    (folder / "forbidden.sh").chmod(0o644)
    messages = {}
    async with served(config) as client:
        for script_id in ("missing", "forbidden", "no-program", "no-interpreter"):
            path = str(folder / f"{script_id}.sh")
            text = await said_by_the_job(client, run(script_id))
            by_reason = script_id in ("missing", "no-interpreter")
            messages[f"a script: {script_id}"] = Message(text, (path,), by_reason)
        text = await said_by_the_job(client, run("hello", "a" * MAX_ARG))
        path = str(folder / "hello.sh")
        messages["arguments that are too long"] = Message(text, (path,), ends_with_a_reason=True)
        with mock.patch.object(LogWriter, "write", side_effect=broken(errno.ENOSPC)):
            text = await said_by_the_job(client, run("hello"))
        messages["a full disk"] = Message(text, ("the log",), ends_with_a_reason=True)
        unforeseen = mock.patch(
            "local_runner.jobs.job.ScriptProcess", side_effect=RuntimeError("x")
        )
        with logged() as lines, unforeseen:
            text = await said_by_the_job(client, run("hello"))
        messages["a job that fails"] = Message(text, ("the job",), ends_with_a_reason=True)
        messages["a job that fails, logged"] = Message(lines[0], ("job_",), ends_with_a_reason=True)
        with mock.patch("os.set_blocking", side_effect=broken(errno.EMFILE)):
            text = await said_by_the_job(client, run("hello"))
        messages["a script that cannot be watched"] = Message(text, (path,), True)
        with mock.patch.object(LogWriter, "close", close_and_fail):
            text = await said_by_the_job(client, run("hello"))
        messages["a log that cannot be closed"] = Message(text, ("the log",), True)
    messages |= await messages_of_recovered_jobs(folder)
    return messages


def close_and_fail(log: LogWriter, close: Callable[[LogWriter], None] = LogWriter.close) -> None:
    """Close a log as a network file system may do that lost what was written."""
    close(log)
    raise broken(errno.EIO)


async def said_by_the_job(client: httpx.AsyncClient, request: dict[str, Any]) -> str:
    """The stderr of a job that ends at once."""
    answer = await client.request(**request)
    return str(answer.json()["stderrPreview"])


async def messages_of_recovered_jobs(folder: Path) -> dict[str, Message]:
    """What is said of jobs that a history has and that cannot go on."""
    config = configured(folder, HELLO, jobStoreFile="./recovered.json", logsDir="./no-folder")
    (folder / "no-folder").touch()
    store = Store(config.database)
    for number, (script_id, status) in enumerate([("gone", "queued"), ("hello", "running")]):
        await store.save(record(number, script_id, status))
    with pytest.raises(StoreError) as caught:
        await store.save(record(2**64, "hello", "queued"))
    await store.close()
    async with served(config) as client:
        not_allowed, unreadable = [
            str((await client.get(f"/jobs/job_1_{number}")).json()["stderrPreview"])
            for number in range(2)
        ]
        no_folder = await said_by_the_job(client, run("hello"))
    named = ("no-folder",)
    return {
        "a job that is not allowed any more": Message(not_allowed, ("gone",), True),
        "a log that cannot be read": Message(unreadable, named, ends_with_a_reason=True),
        "a log that cannot be opened": Message(no_folder, named, ends_with_a_reason=True),
        "a record that cannot be written": Message(
            str(caught.value), ("the history",), ends_with_a_reason=True
        ),
    }


def record(number: int, script_id: str, status: str) -> JobRecord:
    """A job as a history may have it."""
    return JobRecord(
        seq=number,
        job_id=f"job_1_{number}",
        script_id=script_id,
        args=[],
        mode="async",
        status=status,
        created_ms=1,
    )


async def messages_of_the_log(folder: Path) -> dict[str, Message]:
    """What is logged where an end cannot be recorded and an old job cannot be deleted."""
    sleeps = {"sleeps": "#!/bin/sh\nexec sleep 60\n"}
    config = configured(folder, {**HELLO, **sleeps}, maxJobs=1)
    full = StoreError("the history of jobs cannot be read or written: the disk is full")
    save = Store.save
    fails_for: list[str] = []

    async def save_but_once(self: Store, record: JobRecord, **options: Any) -> None:
        if record.status in fails_for:
            fails_for.remove(record.status)
            raise full
        await save(self, record, **options)

    with (
        logged() as lines,
        mock.patch("local_runner.jobs.scheduler.RETRY_SECONDS", 0),
        mock.patch.object(Store, "save", save_but_once),
        mock.patch.object(Store, "delete", side_effect=full),
        mock.patch.object(Path, "unlink", side_effect=broken(errno.EACCES)),
    ):
        async with served(config) as client:
            job_id = (await client.request(**run("sleeps", mode="async"))).json()["jobId"]
            queued = (await client.request(**run("hello", mode="async"))).json()["jobId"]
            fails_for += ["canceled", "running"]
            await client.post(f"/jobs/{job_id}/cancel")
            while not (job := (await client.get(f"/jobs/{queued}")).json())["endedAt"]:
                await asyncio.sleep(0.001)
    unstarted = Message(job["stderrPreview"], ("the job",), ends_with_a_reason=True)
    messages = {"a queued job that cannot be started": unstarted}
    for line in lines:
        named = job_id if line.startswith(job_id) else "old"
        messages[f"logged: {line}"] = Message(line, (named,), ends_with_a_reason=True)
    return messages
