"""`GET /jobs` and `GET /scripts`: what they list, in which order, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_runner.storage.history import Store
from scripts.mock import prism
from scripts.runner_process import RunnerProcess
from scripts.waiting import wait_until
from tests.local_runner.described_requests import LISTS
from tests.local_runner.limits import limited, needs_prlimit
from tests.local_runner.talk import TAP, Tap
from tests.support.prism_client import refuse_prism_error

SCRIPTS = {"tap": TAP, "print": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n", "fail": "#!/bin/sh\nexit 3\n"}
RULES: dict[str, dict[str, Any]] = {
    "fail": {
        "description": "Fails: 失败",
        "mode": "async",
        "timeoutSec": 9,
        "maxConcurrent": 2,
        "args": {"maxItems": 0},
    }
}


def prepared(folder: Path, **environment: str) -> RunnerProcess:
    settings = {"maxConcurrent": 1, "killGraceSeconds": 0.2}
    return RunnerProcess(folder, SCRIPTS, runner=settings, rules=RULES, environment=environment)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    with prepared(tmp_path) as started:
        yield started


@pytest.fixture
def listed(runner: RunnerProcess) -> Iterator[httpx.Client]:
    """A client that calls the runner through Prism, which knows how the lists are described."""
    with (
        prism(["proxy", runner.url], spec=LISTS) as url,
        httpx.Client(
            base_url=url,
            trust_env=False,
            timeout=20,
            event_hooks={"response": [refuse_prism_error]},
        ) as client,
    ):
        yield client


def jobs(client: httpx.Client, **query: str | int) -> dict[str, Any]:
    response = client.get("/jobs", params=query)
    assert response.status_code == 200, response.text
    return dict(response.json())


def ids(client: httpx.Client, **query: str | int) -> list[str]:
    return [job["jobId"] for job in jobs(client, **query)["jobs"]]


def scripts(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {script["id"]: script for script in client.get("/scripts").json()["scripts"]}


def counts(client: httpx.Client) -> tuple[int, int]:
    print_ = scripts(client)["print"]
    return scripts(client)["tap"]["running"], print_["queued"]


def test_a_listed_job_is_the_job_with_arguments_and_without_previews(
    runner: RunnerProcess, listed: httpx.Client
) -> None:
    job = runner.run("print", "日志", "")

    first = jobs(listed)

    del job["stdoutPreview"], job["stderrPreview"]
    assert first == {
        "ok": True,
        "jobs": [{**job, "args": ["日志", ""], "worker": None}],
        "next": None,
    }


def test_the_lists_are_as_described_before_the_first_job(listed: httpx.Client) -> None:
    assert jobs(listed) == {"ok": True, "jobs": [], "next": None}
    assert [*scripts(listed)] == [*SCRIPTS]
    assert scripts(listed)["fail"] == {
        "id": "fail",
        "description": "Fails: 失败",
        "mode": "async",
        "timeoutSec": 9,
        "maxConcurrent": 2,
        "args": {"maxItems": 0, "itemPattern": r"^[\s\S]*$", "itemMaxLength": 1024},
        "running": 0,
        "labels": [],
        "queued": 0,
        "agents": None,
    }
    tap = scripts(listed)["tap"]
    assert (tap["description"], tap["maxConcurrent"]) == (None, None)


def test_jobs_that_run_and_wait_are_listed_as_they_are_now(
    runner: RunnerProcess, listed: httpx.Client, tmp_path: Path
) -> None:
    ended = runner.run("fail", mode="sync")["jobId"]
    with Tap(tmp_path) as tap:
        running = runner.submit("tap", tap.path)
        waiting = [runner.submit("print", str(number)) for number in range(3)]
        tap.write(b"12345")
        wait_until(lambda: jobs(listed, status="running")["jobs"][0]["stdoutSize"] == 5)

        assert ids(listed) == [*reversed(waiting), running, ended]
        assert ids(listed, status="running") == [running]
        assert ids(listed, status="queued", limit=2) == [waiting[2], waiting[1]]
        assert ids(listed, status="queued", scriptId="tap") == []
        assert counts(listed) == (1, 3)

        runner.cancel(waiting[1])
        assert ids(listed, status="canceled") == [waiting[1]]
        assert counts(listed) == (1, 2)

    runner.ended(waiting[2])
    wait_until(lambda: counts(listed) == (0, 0))
    assert ids(listed, status="succeeded") == [waiting[2], waiting[0], running]
    assert ids(listed, status="failed", scriptId="fail") == [ended]


def test_what_waits_is_counted_and_listed_after_a_restart(tmp_path: Path) -> None:
    runner = prepared(tmp_path)
    with Tap(tmp_path) as tap:
        with runner:
            runner.submit("tap", tap.path)
            tap.write(b"x")
            queued = [runner.submit("tap", tap.path) for _ in range(2)]
        with runner:
            assert ids(runner.http, scriptId="tap")[:2] == queued[::-1]
            state = scripts(runner.http)["tap"]
            assert (state["running"], state["queued"]) == (1, 1)
            for job_id in queued:
                runner.cancel(job_id)


def test_every_job_is_on_one_page_whatever_runs_meanwhile(runner: RunnerProcess) -> None:
    made = [runner.run("print")["jobId"] for _ in range(7)]

    found: list[str] = []
    page: dict[str, Any] = {"next": None}
    while page["next"] or not found:
        before = {"before": page["next"]} if page["next"] else {}
        page = jobs(runner.http, limit=3, scriptId="print", **before)
        found += [job["jobId"] for job in page["jobs"]]
        runner.run("print")

    assert found == made[::-1]


@needs_prlimit
def test_a_page_of_jobs_with_long_arguments_ends_early(tmp_path: Path) -> None:
    rules = {"print": {"args": {"itemMaxLength": 100_000, "maxItems": 100}}}
    scripts = {"print": "#!/bin/sh\n[ $# != 7 ] || exec sleep 300\n"}
    part, settings = "x" * 100_000, {"maxConcurrent": 1, "killGraceSeconds": 0.2}
    with RunnerProcess(tmp_path, scripts, runner=settings, rules=rules) as runner:
        # The third has more than a page by itself; the last two run and wait.
        begun = [runner.run("print", *[part] * parts)["jobId"] for parts in (6, 4, 15, 0)]
        begun += [runner.submit("print", *[part] * parts) for parts in (7, 5)]
        pages = [jobs(runner.http)]
        while before := pages[-1]["next"]:
            pages.append(jobs(runner.http, before=before))

    assert [[job["jobId"] for job in page["jobs"]] for page in pages] == [
        [begun[5]], [begun[4], begun[3]], [begun[2]], [begun[1], begun[0]],
    ]  # fmt: skip


def test_a_job_whose_end_cannot_be_recorded_is_listed_as_it_ended(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    with Tap(tmp_path) as tap:
        job_id = runner.submit("tap", tap.path)
        tap.write(b"x")
        runner.printed(job_id, "x")
        with limited(runner, "RLIMIT_FSIZE", 0):
            tap.close()
            runner.ended(job_id)

            assert ids(runner.http, status="running") == []
            assert ids(runner.http, status="succeeded") == ids(runner.http) == [job_id]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", "limit must be a number from 1 to 500"),
        ("limit=501", "limit must be a number from 1 to 500"),
        ("limit=", "limit must be a number from 1 to 500"),
        ("limit=%2B5", "limit must be a number from 1 to 500"),
        ("limit=" + "9" * 5000, "limit must be a number from 1 to 500"),
        ("before=job_1_1", "before: job not found: job_1_1: begin again without before"),
        ("before=", "before: job not found: : begin again without before"),
        ("before=../../etc/passwd", "before: job not found: ../../etc/passwd"),
        ("before=%00'--", "before: job not found: \0'--"),
        ("status=done", "status must be one of queued, running, succeeded, failed, timed_out"),
        ("status=", "status must be one of"),
        ("scriptId=", "scriptId is empty: leave it out"),
        ("limit=1&limit=2", "limit is given more than once: send it once"),
        ("state=running", "unknown parameter state: it may be limit, before, status, scriptId"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused(
    query: str, said: str, shared: RunnerProcess
) -> None:
    response = shared.http.get(f"/jobs?{query}")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "INVALID_ARGS")
    assert error["message"].startswith(said)
    assert len(response.content) < 1000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    with prepared(tmp_path_factory.mktemp("shared")) as started:
        yield started


@pytest.mark.parametrize("script_id", ["never-there", "%2e%2e%2f", "%27%20OR%201=1--"])
def test_a_script_that_never_ran_has_no_jobs(shared: RunnerProcess, script_id: str) -> None:
    shared.run("print")

    assert shared.http.get(f"/jobs?scriptId={script_id}").json()["jobs"] == []


@pytest.mark.parametrize("path", ["/jobs", "/scripts"])
def test_the_lists_are_guarded_as_everything_is(tmp_path: Path, path: str) -> None:
    with prepared(tmp_path, SCRIPT_RUNNER_TOKEN="secret") as runner:
        statuses = [
            runner.http.get(path, headers=headers).status_code
            for headers in (
                {"authorization": "Bearer secret"},
                {},
                {"host": "evil.example"},
                {"origin": "http://evil.example", "authorization": "Bearer secret"},
            )
        ]
        posted = runner.http.post(path, headers={"authorization": "Bearer secret"}).status_code

    assert (statuses, posted) == ([200, 401, 403, 403], 404)


FILTERS = [{}, {"status": "failed"}, {"script_id": "s1"}, {"script_id": "s1", "status": "failed"}]


@pytest.mark.parametrize("matching", FILTERS)
def test_a_page_reads_no_more_rows_of_a_long_history(
    tmp_path: Path, matching: dict[str, str]
) -> None:
    """The steps of SQLite, which do not depend on the machine."""
    steps = [_steps_of_a_page(tmp_path / str(size), size, matching) for size in (100, 20_000)]

    assert steps[1] < 1.5 * steps[0]


def _steps_of_a_page(folder: Path, size: int, matching: dict[str, str]) -> int:
    folder.mkdir()
    store = Store(folder / "jobs.sqlite3")
    connection = store._database.connection
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " INSERT INTO jobs SELECT i, 'job_' || i, 's' || (i % 2), '[]', 'sync',"
        " iif(i > 60, 'succeeded', 'failed'), 0, i, i, i, 0, 0, 0, 0, 0, '', '', i, NULL, NULL"
        " FROM n",
        [size],
    )
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(count, 1)
    query = asyncio.run(store.newest(size + 1, 51, matching, 1))
    connection.set_progress_handler(None, 0)
    asyncio.run(store.close())
    assert query
    return steps
