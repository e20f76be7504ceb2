"""Scripts that leave a trace of each start and each end, so that none can run twice unseen."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.cluster import Cluster


def traced(folder: Path) -> dict[str, str]:
    """Scripts that note their starts and ends in files of a folder.

    `quick` only notes; `works N` prints N lines, ten a second; `stays` prints one line and stays
    until it is ended; `deaf` does so too and does not end on SIGTERM.
    """
    starts, ends = shlex.quote(str(folder / "starts")), shlex.quote(str(folder / "ends"))
    begin = f'#!/bin/sh\necho "$SCRIPT_RUNNER_JOB_ID" >> {starts}\n'
    end = f'echo "$SCRIPT_RUNNER_JOB_ID" >> {ends}\n'
    return {
        "quick": begin + "echo done\n" + end,
        "works": begin + 'for i in $(seq "$1"); do echo "line $i"; sleep 0.1; done\n' + end,
        "stays": begin + "echo begun\nexec sleep 600\n",
        "deaf": begin + "trap '' TERM\necho begun\nwhile :; do sleep 0.2; done\n",
    }


class Traces:
    """What the scripts of `traced` have left."""

    def __init__(self, folder: Path) -> None:
        """Look into a folder."""
        self._folder = folder

    @property
    def starts(self) -> list[str]:
        """The job of each start."""
        return self._read("starts")

    @property
    def ends(self) -> list[str]:
        """The job of each end that a script came to by itself."""
        return self._read("ends")

    def _read(self, name: str) -> list[str]:
        path = self._folder / name
        return path.read_text().split() if path.exists() else []

    def assert_none_ran_twice(self) -> None:
        """No job was started more than once."""
        assert len(set(self.starts)) == len(self.starts)


LINES = 30
WORK = "".join(f"line {number}\n" for number in range(1, LINES + 1))
"""What `works LINES` prints, in three seconds."""


def begun(cluster: Cluster, script_id: str, *args: str) -> str:
    """Start a job and wait until its script has printed something."""
    job_id = cluster.front.submit(script_id, *args)
    cluster.front.printed(job_id, "\n")
    return job_id
