"""Show everything at once: the local runner with `examples/`, and flow-1 on the OOMOL executor."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.runner_process import RunnerFailed, RunnerProcess
from scripts.stopping import exit_when_told, run_child

ROOT = Path(__file__).resolve().parent.parent
FLOW = ROOT / "flows" / "flow-1"


@contextlib.contextmanager
def examples_served() -> Iterator[str]:
    """Serve a copy of `examples/` on a free port, and stop it on leaving the block.

    Yields:
        The URL of the runner, when it listens.

    Raises:
        RunnerFailed: If it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="script-runner-demo-") as folder:
        examples = Path(folder, "examples")
        shutil.copytree(ROOT / "examples", examples, ignore=shutil.ignore_patterns("var"))
        with RunnerProcess(examples, options=["--port=0"]) as runner:
            yield runner.url


def main() -> int:
    """Run the demo; returns the exit code."""
    exit_when_told()
    begun = time.monotonic()
    try:
        with examples_served() as url:
            print(f"The local runner serves examples/ on {url}\n", flush=True)
            flow = [sys.executable, "-m", "scripts.flow.cli", str(FLOW), "--url", url]
            code = run_child(flow, ROOT)
    except RunnerFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.monotonic() - begun
    if code == 0:
        print(
            f"\nIn {seconds:.1f} s flow-1 ran on the OOMOL Python executor, and its scripts on the "
            'local runner.\nNext: README.md, "Your own script in 60 seconds".'
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
