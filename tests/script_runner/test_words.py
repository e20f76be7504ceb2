"""The words of the product for those of the wire, and what they say of a job."""

from __future__ import annotations

import pytest

from script_runner import has_ended
from script_runner.oomol.words import (
    cancel_result,
    exit_code_of,
    status_of,
    truncated_streams,
    with_reason,
)
from tests.script_runner.documented import documented_job

WORDS = {
    "queued": "queued",
    "running": "running",
    "succeeded": "completed",
    "failed": "failed",
    "timed_out": "failed",
    "canceled": "cancelled",
}
UNKNOWN = ["paused", "", "completed?", "SUCCEEDED", "日"]
ENDED_AT = "2026-11-23T18:38:06.743Z"


@pytest.mark.parametrize(("wire", "word"), WORDS.items())
def test_a_status_of_the_wire_has_a_word_of_the_product(wire: str, word: str) -> None:
    assert status_of(documented_job(status=wire)) == word


@pytest.mark.parametrize("word", [*UNKNOWN, "completed", "cancelled"])
def test_a_status_not_known_passes_through(word: str) -> None:
    assert status_of(documented_job(status=word)) == word


@pytest.mark.parametrize("ended_at", [None, ENDED_AT])
@pytest.mark.parametrize(
    ("wire", "ended"),
    [
        ("queued", False),
        ("running", False),
        ("succeeded", True),
        ("failed", True),
        ("timed_out", True),
        ("canceled", True),
    ],
)
def test_a_known_status_says_whether_a_job_has_ended(
    wire: str, ended: bool, ended_at: str | None
) -> None:
    assert has_ended(documented_job(status=wire, endedAt=ended_at)) is ended


@pytest.mark.parametrize("word", UNKNOWN)
def test_a_job_whose_status_is_not_known_has_ended_when_it_has_an_end(word: str) -> None:
    assert has_ended(documented_job(status=word, endedAt=ENDED_AT))
    assert not has_ended(documented_job(status=word, endedAt=None))


@pytest.mark.parametrize(
    ("wire", "code", "exit_code"),
    [
        ("queued", None, None),
        ("running", None, None),
        ("succeeded", 0, 0),
        ("failed", 3, 3),
        ("failed", 127, 127),
        ("failed", 137, 137),
        # The service was restarted while the job ran, or the job could not start.
        ("failed", -1, -1),
        ("timed_out", -1, -1),
        ("canceled", -1, None),
        ("canceled", 143, None),
        ("paused", 5, None),
        # What no runner should send.
        ("running", 0, None),
        ("succeeded", None, None),
    ],
)
def test_only_a_completed_or_failed_job_has_an_exit_code(
    wire: str, code: int | None, exit_code: int | None
) -> None:
    assert exit_code_of(documented_job(status=wire, code=code)) == exit_code


@pytest.mark.parametrize(
    ("example", "success", "said"),
    [
        ("cancelled", True, "is cancelled."),
        (
            "running",
            True,
            "was told to end (SIGTERM); it is running until its script has ended.",
        ),
        ("queued", True, "was told to end (SIGTERM); it is queued until its script has ended."),
        ("succeeded", False, "had already ended: completed."),
        ("failed", False, "had already ended: failed."),
        ("timed-out", False, "had already ended: failed."),
    ],
)
def test_what_came_of_a_cancel_is_said_in_a_sentence(
    example: str, success: bool, said: str
) -> None:
    job = documented_job(example)
    assert cancel_result(job) == (success, f"Job {job.job_id} {said}")


@pytest.mark.parametrize(
    ("ended_at", "success", "said"),
    [
        (ENDED_AT, False, "had already ended: paused."),
        (None, True, "was told to end (SIGTERM); it is paused until its script has ended."),
    ],
)
def test_a_status_not_known_is_in_the_sentence(
    ended_at: str | None, success: bool, said: str
) -> None:
    job = documented_job(status="paused", endedAt=ended_at)
    assert cancel_result(job) == (success, f"Job {job.job_id} {said}")


@pytest.mark.parametrize(
    ("stdout", "stderr", "streams"),
    [
        (False, False, []),
        (True, False, ["stdout"]),
        (False, True, ["stderr"]),
        (True, True, ["stdout", "stderr"]),
    ],
)
def test_the_streams_that_are_cut_are_named(stdout: bool, stderr: bool, streams: list[str]) -> None:
    job = documented_job(stdoutTruncated=stdout, stderrTruncated=stderr)
    assert truncated_streams(job) == streams


@pytest.mark.parametrize(
    ("text", "size", "streams"),
    [("日", 3, []), ("日", 4, ["stderr"]), ("\ufffd", 1, []), ("", 1, ["stderr"])],
)
def test_a_log_that_is_shorter_than_its_job_says_is_cut(
    text: str, size: int, streams: list[str]
) -> None:
    job = documented_job(stdoutSize=9, stderrSize=size)
    assert truncated_streams(job, {"stderr": text}) == streams


@pytest.mark.parametrize(
    ("text", "preview", "streams"),
    [
        ("a\nb\n", "\ufffd\nb\n", []),
        ("a\nb\n", "b\nc\n", ["stdout"]),
        ("", "a\n", ["stdout"]),
    ],
)
def test_a_log_that_lacks_the_end_of_stdout_is_cut(
    text: str, preview: str, streams: list[str]
) -> None:
    """The reference server counts nothing of a piece of which a full disk took no byte."""
    job = documented_job(stdoutSize=len(text), stdoutPreview=preview)
    assert truncated_streams(job, {"stdout": text}) == streams


REASON = "the log could not be written: No space left on device"


@pytest.mark.parametrize(
    ("log", "preview", "wanted"),
    [
        # The preview is the end of the log: there is no reason.
        ("", "", ""),
        ("bad\n", "bad\n", "bad\n"),
        ("one\ntwo\n", "two\n", "one\ntwo\n"),
        ("日日", "\ufffd\ufffd日", "日日"),
        ("bad\n", "", "bad\n"),
        # As the local runner and the reference server give it.
        ("", f"{REASON}\n", f"{REASON}\n"),
        ("", "failed to open log files: ENOENT", "failed to open log files: ENOENT\n"),
        ("one\n", f"one\n\n{REASON}\n", f"one\n{REASON}\n"),
        ("one", f"one\n{REASON}\n", f"one\n{REASON}\n"),
        ("x\n" * 500, "x\n" * 50 + f"\n{REASON}", "x\n" * 500 + f"{REASON}\n"),
        ("日" * 300, "\ufffd" + "日" * 100 + f"\n{REASON}", "日" * 300 + f"\n{REASON}\n"),
        # The preview has output that the log has not, and no place where it goes on.
        ("one\n", f"two\n{REASON}", f"one\ntwo\n{REASON}\n"),
    ],
)
def test_a_reason_that_is_only_in_the_preview_stands_at_the_end_of_stderr(
    log: str, preview: str, wanted: str
) -> None:
    job = documented_job("failed", stderrPreview=preview, stderrSize=len(log.encode()))
    assert with_reason(job, log) == wanted


@pytest.mark.parametrize(
    ("code", "preview", "wanted"),
    [
        (3, "last\n", "first"),
        (-1, f"last\n\n{REASON}\n", f"first\n{REASON}\n"),
        (-1, f"last{REASON[0]}\n{REASON}", f"first\n{REASON}\n"),
        (-1, "first", "first"),
    ],
)
def test_output_that_was_thrown_away_is_no_reason(code: int, preview: str, wanted: str) -> None:
    thrown_away = {"stderrPreview": preview, "stderrSize": 5, "stderrTruncated": True}
    assert with_reason(documented_job("failed", code=code, **thrown_away), "first") == wanted
