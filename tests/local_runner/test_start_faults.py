"""What keeps a script from being started, as `local-runner check` says it beforehand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from local_runner.cli import main
from local_runner.processes.start_faults import start_fault

NOBODY = 65534
"""A user who owns nothing."""


def written(content: bytes, mode: int = 0o755) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
        path.chmod(mode)

    return write


def loop(path: Path) -> None:
    path.symlink_to(path)


FAULTS: dict[str, tuple[Callable[[Path], None], str | None]] = {
    "right": (written(b"#!/bin/sh\necho hello\n"), None),
    "by env": (written(b"#!/usr/bin/env sh\n"), None),
    "a program": (written(b"\x7fELF\0"), None),
    "gone": (lambda _: None, "no such file"),
    "a folder": (Path.mkdir, "is a folder, not a file"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "a loop": (loop, "cannot be checked: Too many levels of symbolic links"),
    "not executable": (
        written(b"#!/bin/sh\n", 0o644),
        "may not be executed, run chmod +x on it",
    ),
    "no first line": (
        written(b"echo hello\n"),
        "not a program, a script needs a first line such as #!/bin/sh",
    ),
    "windows": (
        written(b"#!/bin/sh\r\necho hello\r\n"),
        "its first line ends as on Windows (CRLF): save it with line ends as on Unix (LF)",
    ),
    "bom": (
        written(b"\xef\xbb\xbf#!/bin/sh\n"),
        "is UTF-8 with a byte order mark (BOM): save it as UTF-8 without",
    ),
    "long": (
        written(b"#!/bin/sh " + b"x" * 300 + b"\n"),
        "its first line is longer than 255 bytes, which the system cuts off: shorten it",
    ),
    "a null byte": (
        written(b"#!/bin/sh\0\0\n"),
        "its first line has a null byte in it: save it as UTF-8",
    ),
    "no interpreter": (
        written(b"#!\n"),
        "its first line names no interpreter: begin it as in #!/bin/sh",
    ),
    "missing interpreter": (
        written(b"#!/no/such/shell\n"),
        "its interpreter /no/such/shell is missing",
    ),
    "missing by env": (
        written(b"#!/usr/bin/env no-such-shell\n"),
        "its interpreter no-such-shell is not in the PATH of the runner",
    ),
}


def test_check_looks_at_the_first_line_of_every_script(tmp_path: Path) -> None:
    for name, (make, _) in FAULTS.items():
        make(tmp_path / name)
    listed = [{"id": name, "path": f"./{name}"} for name in FAULTS]
    (tmp_path / "config.json").write_text(json.dumps({"scripts": listed}))

    result = CliRunner().invoke(main, ["check", f"--config={tmp_path / 'config.json'}"])

    assert (result.exit_code, result.stderr) == (0, "")
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        f"warning: script {name}: {tmp_path / name}: {fault}"
        for name, (_, fault) in FAULTS.items()
        if fault
    ]


def test_a_script_out_of_reach_is_a_fault_in_words(tmp_path: Path) -> None:
    assert start_fault(str(tmp_path / "x" / "y")) == "no such file"
    assert start_fault(f"/{'x' * 300}") == "cannot be checked: File name too long"
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    user = os.geteuid()
    # Root may search every folder.
    os.seteuid(user or NOBODY)
    try:
        assert start_fault(str(closed / "a.sh")) == "cannot be checked: Permission denied"
    finally:
        os.seteuid(user)
