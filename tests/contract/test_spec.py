"""What the spec promises beyond being valid, and what its client does with surprises."""

from __future__ import annotations

from typing import Any

import pytest

from generated_client.models import AcceptedJob, Job, LogPage
from tests.support.spec import described_responses, load

JOBS = [response.body for response in described_responses() if response.schema == "Job"]
PAGES = [response.body for response in described_responses() if response.schema == "LogPage"]


def job_example(name: str) -> dict[str, Any]:
    return next(
        dict(response.body)
        for response in described_responses()
        if (response.operation, response.example) == ("getJob", name)
    )


@pytest.mark.parametrize("word", ["paused", "", "SUCCEEDED"])
def test_an_unknown_status_word_loses_nothing(word: str) -> None:
    job = Job.from_dict({**job_example("succeeded"), "status": word})
    assert job.status == word
    assert job.stdout_preview == "start\n"
    accepted = AcceptedJob.from_dict({"ok": True, "jobId": "j", "status": word})
    assert (accepted.job_id, accepted.status) == ("j", word)


def test_unknown_words_for_mode_and_stream_lose_nothing() -> None:
    assert Job.from_dict({**job_example("succeeded"), "mode": "batch"}).mode == "batch"
    assert LogPage.from_dict({**PAGES[0], "stream": "both"}).stream == "both"


def test_a_field_added_tomorrow_is_kept() -> None:
    job = Job.from_dict({**job_example("succeeded"), "host": "worker-1"})
    assert job.additional_properties == {"host": "worker-1"}
    assert job.job_id == job_example("succeeded")["jobId"]


@pytest.mark.parametrize(
    "name", ["code", "startedAt", "endedAt", "durationMs"], ids=lambda name: f"{name}-null"
)
def test_what_a_queued_job_does_not_have_yet_is_null_not_missing(name: str) -> None:
    queued = job_example("queued")
    assert queued[name] is None
    assert Job.from_dict(queued).to_dict() == {**queued, "createdAt": iso(queued["createdAt"])}


def iso(wire_time: str) -> str:
    """The form the generated client gives a time: the same moment, written otherwise."""
    return wire_time.replace("Z", "000+00:00")


@pytest.mark.parametrize("name", load()["components"]["schemas"]["Job"]["properties"])
def test_every_field_of_a_job_is_required(name: str) -> None:
    incomplete = job_example("succeeded")
    del incomplete[name]
    with pytest.raises(KeyError, match=name):
        Job.from_dict(incomplete)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job['jobId']}-{job['status']}")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_sizes_of_the_examples_are_bytes(job: dict[str, Any], stream: str) -> None:
    preview = len(job[f"{stream}Preview"].encode())
    if job["endedAt"] is None:
        assert preview == 0
    elif job[f"{stream}Truncated"]:
        assert preview <= job[f"{stream}Size"]
    else:
        assert preview == job[f"{stream}Size"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page['data']!r}")
def test_the_pages_of_the_examples_add_up(page: dict[str, Any]) -> None:
    if "\ufffd" not in page["data"]:
        assert page["nextOffset"] - page["offset"] == len(page["data"].encode())
    assert page["nextOffset"] <= max(page["totalSize"], page["offset"])
