"""The wire: what `POST /run` accepts and refuses, and what is no route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.runner_process import RunnerProcess
from tests.local_runner.talk import post_bytes, post_run

FAIL = "#!/bin/sh\necho out\necho bad >&2\nexit 3\n"
PRINT = "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"
TRUE = "#!/bin/sh\n"

PATTERNS = {
    "word": "^[a-z]+$",
    "digits": r"^\d+$",
    "word-characters": r"^\w+$",
    "space": r"^\s$",
    "anywhere": "b",
    "no-dash": "^(?!-)",
    "look-behind": "(?<=a)b$",
    "back-reference": r"^(?<quote>['\"]).*\k<quote>$",
    "identity-escape": r"^[a-z\_\-]+$",
    "loose-brace": "^a{$",
    "letters-of-any-script": r"^[^\x00-\x7f]+$",
}
NOT_JSON = {
    "cut": b"{",
    "form": b"scriptId=print",
    "python": b"{'scriptId': 'print'}",
    "more-after-it": b'{"scriptId":"print"} more',
    "nan": b'{"scriptId":"print","args":[NaN]}',
    "infinity": b'{"scriptId":"print","wait":-Infinity}',
    "byte-order-mark": b'\xef\xbb\xbf{"scriptId":"print"}',
    "utf-16": '{"scriptId":"print"}'.encode("utf-16"),
    "not-utf-8": b"\xff",
    "too-deep": b"[" * 100_000,
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


RULES: dict[str, dict[str, Any]] = {
    "sync": {"mode": "sync"},
    "limited": {"args": {"maxItems": 2, "itemMaxLength": 5, "itemPattern": "^[^!]*$"}},
    **{name: {"args": {"itemPattern": pattern}} for name, pattern in PATTERNS.items()},
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    scripts = {"fail": FAIL, "print": PRINT, **dict.fromkeys(RULES, TRUE)}
    settings = {"defaultMode": "async"}
    with RunnerProcess(
        tmp_path_factory.mktemp("wire"), scripts, runner=settings, rules=RULES
    ) as started:
        yield started


def error(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message}}


def test_a_sync_run_returns_200_with_the_whole_job(runner: RunnerProcess) -> None:
    response = post_run(runner, {"scriptId": "fail", "mode": "sync"})

    body = response.json()
    assert (response.status_code, response.headers["content-type"], body) == (
        200,
        "application/json; charset=utf-8",
        {
            "ok": True,
            "jobId": body["jobId"],
            "scriptId": "fail",
            "status": "failed",
            "code": 3,
            "startedAt": body["startedAt"],
            "endedAt": body["endedAt"],
            "durationMs": body["durationMs"],
            "createdAt": body["createdAt"],
            "mode": "sync",
            "stdoutRef": f"{body['jobId']}.stdout.log",
            "stderrRef": f"{body['jobId']}.stderr.log",
            "stdoutSize": 4,
            "stderrSize": 4,
            "stdoutTruncated": False,
            "stderrTruncated": False,
            "stdoutPreview": "out\n",
            "stderrPreview": "bad\n",
        },
    )
    assert re.fullmatch(r"job_\d{13}_\d+", body["jobId"])
    times = [body["createdAt"], body["startedAt"], body["endedAt"]]
    assert times == sorted(times)
    assert [time for time in times if not TIME.fullmatch(time)] == []
    assert body["durationMs"] in range(10_000)
    assert runner.job(body["jobId"]) == body


def test_an_async_run_returns_202_with_the_id_and_the_status_only(runner: RunnerProcess) -> None:
    response = post_run(runner, {"scriptId": "print", "args": ["a"], "mode": "async"})

    body = response.json()
    assert (response.status_code, response.headers["content-type"], body) == (
        202,
        "application/json; charset=utf-8",
        {"ok": True, "jobId": body["jobId"], "status": "running"},
    )
    job = runner.ended(body["jobId"])
    assert (job["status"], job["mode"], job["stdoutPreview"]) == ("succeeded", "async", "a\n")


@pytest.mark.parametrize(
    ("script_id", "mode", "chosen"),
    [
        ("sync", {"mode": "async"}, "async"),
        ("sync", {"mode": "sync"}, "sync"),
        ("sync", {}, "sync"),
        ("print", {}, "async"),
        ("print", {"mode": "sync"}, "sync"),
        ("print", {"mode": "later"}, "async"),
        ("print", {"mode": None}, "async"),
        ("sync", {"mode": "SYNC"}, "sync"),
        ("sync", {"mode": ["async"]}, "sync"),
    ],
)
def test_the_mode_is_that_of_the_request_then_of_the_script_then_the_default(
    runner: RunnerProcess, script_id: str, mode: dict[str, object], chosen: str
) -> None:
    response = post_run(runner, {"scriptId": script_id, **mode})

    assert response.status_code == {"sync": 200, "async": 202}[chosen]
    assert runner.job(response.json()["jobId"])["mode"] == chosen


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (None, "args must be an array of strings"),
        ("ab", "args must be an array of strings"),
        ({"0": "a"}, "args must be an array of strings"),
        (["a", 1], "arg[1] must be string"),
        ([None], "arg[0] must be string"),
        ([["a"]], "arg[0] must be string"),
        (["a", "b", "c"], "too many args: max 2"),
        ([1, 2, 3], "too many args: max 2"),
        (["a", "123456"], "arg[1] too long: max 5"),
        (["!23456"], "arg[0] too long: max 5"),
        (["😀😀😀"], "arg[0] too long: max 5"),
        (["!"], "arg[0] does not match pattern"),
        (["!", "123456"], "arg[0] does not match pattern"),
    ],
)
def test_arguments_that_are_not_as_the_script_takes_them_are_refused(
    runner: RunnerProcess, args: object, message: str
) -> None:
    response = post_run(runner, {"scriptId": "limited", "args": args, "mode": "sync"})

    assert (response.status_code, response.json()) == (400, error("INVALID_ARGS", message))


@pytest.mark.parametrize("args", [[], [""], ["12345", "日志日志日"], ["😀😀"]])
def test_arguments_within_the_limits_are_taken(runner: RunnerProcess, args: list[str]) -> None:
    assert runner.run("limited", *args)["status"] == "succeeded"


@pytest.mark.parametrize("arg", ["a\0b", "\0", "\ud83d", "a\udfff"])
def test_an_argument_that_no_program_can_get_is_refused(runner: RunnerProcess, arg: str) -> None:
    response = post_run(runner, {"scriptId": "print", "args": [arg], "mode": "sync"})

    assert (response.status_code, response.json()) == (
        400,
        error("INVALID_ARGS", "arg[0] has a null byte or half a surrogate pair"),
    )


@pytest.mark.parametrize(
    ("pattern", "arg", "matches"),
    [
        ("word", "abc", True),
        ("word", "abc\n", False),
        ("digits", "12", True),
        ("digits", "٣", False),
        ("word-characters", "é", False),
        ("space", "\ufeff", True),
        ("space", "\x1c", False),
        ("anywhere", "abc", True),
        ("no-dash", "-x", False),
        ("no-dash", "x\n-x", True),
        ("look-behind", "ab", True),
        ("look-behind", "bb", False),
        ("back-reference", "'a'", True),
        ("back-reference", "'a\"", False),
        ("identity-escape", "a_-", True),
        ("loose-brace", "a{", True),
        ("letters-of-any-script", "日志", True),
    ],
)
def test_a_pattern_means_what_it_means_in_ecmascript(
    runner: RunnerProcess, pattern: str, arg: str, matches: bool
) -> None:
    body = {"scriptId": pattern, "args": [arg], "mode": "sync"}

    assert post_run(runner, body).status_code == (200 if matches else 400)


def test_a_script_that_is_not_listed_is_not_found(runner: RunnerProcess) -> None:
    response = post_run(runner, {"scriptId": "nope", "args": None})

    assert (response.status_code, response.json()) == (
        400,
        error("SCRIPT_NOT_FOUND", "script not found: nope"),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"print"',
        b'{"scriptId":5}',
        b'{"scriptId":null}',
        b'{"scriptId":""}',
        b'{"scriptId":"\\ud800"}',
    ],
)
def test_a_body_that_names_no_script_gets_the_same(runner: RunnerProcess, body: bytes) -> None:
    response = post_bytes(runner, body)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "SCRIPT_NOT_FOUND")


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_an_error_of_the_server(
    runner: RunnerProcess, body: bytes
) -> None:
    response = post_bytes(runner, body)

    assert (response.status_code, response.json()) == (
        500,
        error("INTERNAL_ERROR", "invalid json body"),
    )


@pytest.mark.parametrize("target", ["/healthz", "/healthz?deep=1"])
def test_healthz_is_ok(runner: RunnerProcess, target: str) -> None:
    response = runner.http.get(target)

    assert (response.status_code, response.text) == (200, '{"ok":true}')
    assert response.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/run"),
        ("PUT", "/run"),
        ("POST", "/run/"),
        ("POST", "/RUN"),
        ("OPTIONS", "/run"),
        ("POST", "/healthz"),
        ("GET", "/healthz/"),
        ("POST", "/jobs"),
        ("POST", "/scripts"),
        ("GET", "/jobs/"),
        ("DELETE", "/jobs/nope"),
        ("GET", "/jobs/nope/"),
        ("GET", "/jobs/nope/cancel"),
        ("GET", "/jobs/nope/logs/"),
        ("GET", "/jobs/nope/log"),
        ("GET", "/docs"),
    ],
)
def test_any_other_route_or_method_is_not_found(
    runner: RunnerProcess, method: str, path: str
) -> None:
    response = runner.http.request(method, path)

    assert (response.status_code, response.json()) == (
        404,
        error("NOT_FOUND", f"route not found: {method} {path}"),
    )


@pytest.mark.parametrize("path", ["/healthz", "/run", "/jobs/nope", "/nope"])
def test_head_is_not_found_and_has_no_body(runner: RunnerProcess, path: str) -> None:
    response = runner.http.head(path)

    assert (response.status_code, response.content) == (404, b"")


def test_two_runners_give_no_two_jobs_one_id(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In the same millisecond, too: the processes of a job are found by its id."""
    numbers = set()
    for name in ("one", "other"):
        with RunnerProcess(tmp_path_factory.mktemp(name), {"hello": "#!/bin/sh\n"}) as runner:
            numbers.add(runner.submit("hello").rpartition("_")[2])
    assert len(numbers) == 2
