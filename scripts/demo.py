"""Show everything at once: the local runner with `examples/`, and flow-1 on the OOMOL executor."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOW = ROOT / "flows" / "flow-1"
STOP_SECONDS = 10.0
"""How long the local runner may take to end its scripts."""


class DemoFailed(Exception):
    """The local runner did not start; the message is what it printed."""


@contextlib.contextmanager
def local_runner() -> Iterator[str]:
    """Serve a copy of `examples/` on a free port, and stop it on leaving the block.

    Yields:
        The URL of the runner, when it listens.

    Raises:
        DemoFailed: If it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="script-runner-demo-") as folder:
        examples = Path(folder) / "examples"
        shutil.copytree(ROOT / "examples", examples, ignore=shutil.ignore_patterns("var"))
        log_path = Path(folder) / "runner.log"
        with log_path.open("w", encoding="utf-8") as log:
            # A session of its own: Ctrl-C in a terminal is for the demo, which then ends this.
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "local_runner", "start", "--log-format=json"),
                    *(f"--config={examples / 'config.json'}", "--port=0"),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield _url_when_listening(process, log_path)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _url_when_listening(process: subprocess.Popen[bytes], log_path: Path) -> str:
    while True:
        has_ended = process.poll() is not None
        printed = log_path.read_text(encoding="utf-8")
        for line in printed.splitlines():
            if line.startswith("{") and (event := json.loads(line))["event"] == "listening":
                return str(event["url"])
        if has_ended:
            raise DemoFailed(f"the local runner did not start:\n{printed}")
        time.sleep(0.02)


def main() -> int:
    """Run the demo; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begun = time.monotonic()
    try:
        with local_runner() as url:
            print(f"The local runner serves examples/ on {url}\n", flush=True)
            flow = [sys.executable, "-m", "scripts.flow.cli", str(FLOW), "--url", url]
            code = subprocess.run(flow, cwd=ROOT, check=False).returncode
    except DemoFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    seconds = time.monotonic() - begun
    if code == 0:
        print(
            f"\nIn {seconds:.1f} s flow-1 ran on the OOMOL Python executor, and its scripts on the "
            'local runner.\nNext: README.md, "Your own scripts".'
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
