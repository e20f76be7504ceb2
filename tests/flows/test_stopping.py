"""A flow that is stopped leaves nothing behind: no process, no file, no job."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.flows.package import RUN_SECONDS, Package, node

CLEAN_UP_SECONDS = 5.0
"""How long killed processes may take to be gone."""

HOLD = """
import fcntl, pathlib, subprocess, threading
held = (pathlib.Path(__file__).parent / "held").open("w")
def main(params):
    fcntl.flock(held, fcntl.LOCK_EX)
    subprocess.Popen(["sleep", "600"], pass_fds=[held.fileno()])
    print("held")
    threading.Event().wait()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_neither_a_process_nor_a_file_behind(
    package: Package, number: signal.Signals, code: int
) -> None:
    package.block("hold", HOLD, inputs=())
    package.flow(node("h", "hold"), node("after", "echo", x=("h", "x")))

    with subprocess.Popen(**package.command("--timeout", f"{RUN_SECONDS}")) as process:
        assert process.stdout is not None
        while "held" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        printed, _ = process.communicate(timeout=RUN_SECONDS)

    assert process.returncode == code
    assert f"error | still running: {number.name} ended the run." in printed
    # The lock is held until both the executor and the process its block started are gone.
    with (package.root / "blocks/hold/held").open() as held:
        _wait_until(lambda: _can_lock(held.fileno()))
    assert package.leftovers() == []


def _can_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + CLEAN_UP_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
