"""Why a script cannot be started: the job says what to change."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_runner.processes.start_faults import start_fault
from scripts.runner_process import RunnerProcess

LONG = "#!/usr/bin/" + "../bin/" * 40 + "sh\n"
FAULTS = {
    "crlf": (b"#!/bin/sh\r\necho hello\r\n", 127, "its first line ends as on Windows (CRLF)"),
    "bom": (b"\xef\xbb\xbf#!/bin/sh\necho hello\n", 126, "is UTF-8 with a byte order mark (BOM)"),
    "utf-16": ("#!/bin/sh\n".encode("utf-16"), 126, "is UTF-16 with a byte order mark (BOM)"),
    "long": (LONG.encode(), 126, "its first line is longer than 255 bytes"),
    "no-interpreter": (b"#!\necho hello\n", 126, "its first line names no interpreter"),
    "missing": (b"#!/no/such/sh -e\n", 127, "its interpreter /no/such/sh is missing"),
    "folder": (b"#!/tmp\n", 126, "its interpreter /tmp is a folder, not a file"),
    "forbidden": (b"#!/etc/passwd\n", 126, "its interpreter /etc/passwd may not be executed"),
    "space": (
        "#!/bin/sh\u00a0-e\n".encode(),
        127,
        "its interpreter /bin/sh\u00a0-e is missing",
    ),
    "empty": (b"", 126, "not a program, a script needs a first line such as #!/bin/sh"),
    "text": (b"echo hello\n", 126, "not a program, a script needs a first line such as #!/bin/sh"),
}


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerProcess]:
    folder = tmp_path_factory.mktemp("faults")
    prepared = RunnerProcess(folder, dict.fromkeys([*FAULTS, "is-one", "foreign"], ""))
    for name, (content, _, _) in FAULTS.items():
        (prepared.folder / f"{name}.sh").write_bytes(content)
    (prepared.folder / "foreign.sh").write_bytes(b"\xcf\xfa\xed\xfe" + b"\0" * 100)
    (prepared.folder / "is-one.sh").unlink()
    (prepared.folder / "is-one.sh").mkdir()
    with prepared:
        yield prepared


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_started_is_told_by_its_fault(
    runner: RunnerProcess, name: str
) -> None:
    _, code, fault = FAULTS[name]
    path = f"{runner.folder}/{name}.sh"

    job = runner.run(name)

    assert (job["status"], job["code"]) == ("failed", code), job["stderrPreview"]
    assert job["stderrPreview"].startswith(f"{path}: {fault}")
    assert f"{path}: {start_fault(path)}\n" == job["stderrPreview"]


def test_a_folder_is_told_as_one(runner: RunnerProcess) -> None:
    job = runner.run("is-one")

    assert (job["code"], job["stderrPreview"]) == (
        126, f"{runner.folder}/is-one.sh: is a folder, not a file\n"
    )  # fmt: skip


def test_a_program_for_another_kind_of_machine_is_told_as_one(runner: RunnerProcess) -> None:
    job = runner.run("foreign")

    said = "it, or its interpreter, is a program for another kind of machine"
    assert (job["code"], job["stderrPreview"]) == (126, f"{runner.folder}/foreign.sh: {said}\n")


@contextlib.contextmanager
def mounted_noexec(folder: Path) -> Iterator[None]:
    """A file system from which nothing may be executed; skipped where it cannot be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_system_mounted_noexec_is_told(tmp_path: Path) -> None:
    with mounted_noexec(tmp_path), RunnerProcess(tmp_path, {"hello": "#!/bin/sh\n"}) as runner:
        job = runner.run("hello")

    assert (job["code"], job["stderrPreview"]) == (
        126,
        f"{tmp_path}/hello.sh: is on a file system that is mounted noexec: move it to another\n",
    )
