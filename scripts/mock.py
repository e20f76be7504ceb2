"""Start Prism on `openapi/script-runner.yaml`: a mock of the API, or a proxy that checks one."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from scripts.stopping import exit_when_told

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "openapi" / "script-runner.yaml"
PRISM = ROOT / "node_modules" / ".bin" / "prism"
DEFAULT_PORT = 4010
STOP_SECONDS = 5.0
"""How long Prism may take to end after SIGTERM before its process group is killed."""

_READY = re.compile(r"Prism is listening on (http://\S+)")


class PrismFailed(Exception):
    """Prism ended before it was ready; the message is what it printed."""


@contextlib.contextmanager
def prism(
    command: Sequence[str],
    *,
    spec: Path = SPEC,
    port: int = 0,
    output: IO[str] | None = None,
) -> Iterator[str]:
    """Run Prism and stop it, and all it started, on leaving the block.

    Args:
        command: `["mock"]`, or `["proxy", upstream_url]`; the spec is added.
        spec: What it mocks or checks.
        port: The port to listen on, on 127.0.0.1; 0 takes a free one.
        output: Where Prism's own lines go once it is ready; None throws them away.

    Yields:
        The URL it listens on, when it is ready to respond.

    Raises:
        PrismFailed: If it ends before it is ready: the port is in use, the spec is invalid,
            or it is not installed.
    """
    verb, *upstream = command
    if not PRISM.exists():
        raise PrismFailed(f"{PRISM} is missing: run `make setup`")
    process = subprocess.Popen(
        [PRISM, verb, spec, *upstream, "--errors", "--host=127.0.0.1", f"--port={port}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    # Prism stops responding when nobody reads its log and the pipe is full.
    reader = threading.Thread(target=_copy, args=(process.stdout, output), daemon=True)
    try:
        url = _wait_until_ready(process.stdout)
        reader.start()
        yield url
    finally:
        _stop_group(process)
        if reader.is_alive():
            reader.join()
        process.stdout.close()


def _wait_until_ready(lines: IO[str]) -> str:
    printed = []
    for line in lines:
        printed.append(line)
        if ready := _READY.search(line):
            return ready[1]
    raise PrismFailed(f"Prism ended before it was ready:\n{''.join(printed)}")


def _copy(lines: IO[str], output: IO[str] | None) -> None:
    for line in lines:
        if output is not None:
            output.write(line)
            output.flush()


def _stop_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.mock", description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="default %(default)s")
    options = parser.parse_args(arguments)
    exit_when_told()
    try:
        with prism(["mock"], port=options.port, output=sys.stdout) as url:
            print(f"The mock of script-runner listens on {url} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
    except PrismFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
