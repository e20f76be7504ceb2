"""Why a script cannot be started: what its file and its first line say."""

from __future__ import annotations

import codecs
import errno
import os
import shutil
import stat
from pathlib import Path

from local_runner.config import ScriptConfig
from local_runner.processes.launcher import CannotStart

EXIT_CODE_NOT_FOUND = 127
EXIT_CODE_NOT_EXECUTABLE = 126
"""The exit codes of POSIX shells, which the wire has."""

FIRST_LINE_BYTES = 255
"""So much of a first line Linux reads; the rest is cut off."""

NOT_A_PROGRAM = "not a program, a script needs a first line such as #!/bin/sh"

_MARKS = {codecs.BOM_UTF8: "UTF-8", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def cannot_start(script: ScriptConfig, error: OSError) -> CannotStart:
    """What to tell of a script that the system did not start."""
    if script.working_dir is not None and error.filename == script.working_dir:
        what = f"workingDir {script.working_dir} cannot be entered: {error.strerror}"
        return CannotStart(what, EXIT_CODE_NOT_EXECUTABLE)
    if script.launcher:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = f"launcher {script.launcher[0]} cannot be started: {error.strerror}"
        return CannotStart(what, EXIT_CODE_NOT_FOUND if is_missing else EXIT_CODE_NOT_EXECUTABLE)
    path = script.path
    fault = start_fault(path)
    if fault is None:
        match error.errno:
            case errno.ENOENT:
                # A program's own: the loader that it names.
                fault = "its interpreter is missing"
            case errno.ENOEXEC:
                fault = "it, or its interpreter, is a program for another kind of machine"
            case errno.EACCES | errno.EPERM:
                fault = f"may not be executed: {error.strerror}"
            case _:
                return CannotStart(f"{path}: cannot be started: {error.strerror}", None)
    is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return CannotStart(
        f"{path}: {fault}", EXIT_CODE_NOT_FOUND if is_missing else EXIT_CODE_NOT_EXECUTABLE
    )


def script_fault(script: ScriptConfig) -> str | None:
    """Why a script cannot be started as it is configured, as far as that can be told; or None."""
    if script.working_dir is not None and not Path(script.working_dir).is_dir():
        return f"its workingDir {script.working_dir} is not a folder"
    if not script.launcher:
        return start_fault(script.path)
    # What a launcher does with the file is its own affair.
    if shutil.which(script.launcher[0]) is None:
        return f"its launcher {script.launcher[0]} is not a program"
    return None if Path(script.path).exists() else "no such file"


def start_fault(path: str) -> str | None:
    """Why a script cannot be started, or not as it was meant, as far as that can be told; or None.

    Args:
        path: The file, absolute.
    """
    return _file_fault(path, "may not be executed, run chmod +x on it") or _first_line_fault(path)


def _file_fault(path: str, if_not_executable: str) -> str | None:
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder, not a file"
        if not stat.S_ISREG(mode):
            return "is not a regular file"
        if os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0):
            return "is on a file system that is mounted noexec: move it to another"
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:
        return f"cannot be checked: {error.strerror}"
    return None if os.access(path, os.X_OK) else if_not_executable


def _first_line_fault(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            begin = file.read(FIRST_LINE_BYTES + 1)
    except OSError:
        return None  # a program that may be executed and not read
    for mark, name in _MARKS.items():
        if begin.startswith(mark):
            return f"is {name} with a byte order mark (BOM): save it as UTF-8 without"
    if not begin.startswith(b"#!"):
        # What is no text may be a program of a kind that the system knows.
        return None if b"\0" in begin else NOT_A_PROGRAM
    line, end, _ = begin.partition(b"\n")
    if not end and len(begin) > FIRST_LINE_BYTES:
        return (
            f"its first line is longer than {FIRST_LINE_BYTES} bytes, which the system cuts off: "
            "shorten it"
        )
    if line.endswith(b"\r"):
        return "its first line ends as on Windows (CRLF): save it with line ends as on Unix (LF)"
    if b"\0" in line:
        return "its first line has a null byte in it: save it as UTF-8"
    # As the system does it: by spaces and tabs alone.
    words = line[2:].replace(b"\t", b" ").split(b" ")
    return _interpreter_fault([os.fsdecode(word) for word in words if word])


def _interpreter_fault(words: list[str]) -> str | None:
    """What is wrong with the words of a first line."""
    if not words:
        return "its first line names no interpreter: begin it as in #!/bin/sh"
    interpreter, *args = words
    fault = _file_fault(interpreter, "may not be executed")
    if fault == "no such file":
        return f"its interpreter {interpreter} is missing"
    if fault is not None:
        return f"its interpreter {interpreter} {fault}"
    is_plain_env = Path(interpreter).name == "env" and args and "=" not in args[0]
    if is_plain_env and not args[0].startswith("-") and shutil.which(args[0]) is None:
        return f"its interpreter {args[0]} is not in the PATH of the runner"
    return None
