"""The words of the product for those of the wire, and what they say of a job."""

from __future__ import annotations

import pytest

from script_runner import describe_cancel, exit_code_of, has_ended, status_of, truncated_streams
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
    assert status_of(wire) == word


@pytest.mark.parametrize("word", [*UNKNOWN, "completed", "cancelled"])
def test_a_status_not_known_passes_through(word: str) -> None:
    assert status_of(word) == word


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
        # What no runner should answer.
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
    assert describe_cancel(job) == (success, f"Job {job.job_id} {said}")


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
    assert describe_cancel(job) == (success, f"Job {job.job_id} {said}")


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
