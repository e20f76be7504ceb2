"""`make generate` and `make check-generated`, on a copy of the spec and the client."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.generate import PACKAGE, ROOT, main
from scripts.spec import FILE


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "openapi", tmp_path / "openapi")
    shutil.copytree(
        ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / FILE).parent.mkdir(parents=True)
    shutil.copy(ROOT / FILE, tmp_path / FILE)
    return tmp_path


def edit_spec(project: Path, old: str, new: str) -> None:
    path = project / "openapi" / "script-runner.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_generating_again_gives_the_same_bytes_and_nothing_else(project: Path) -> None:
    committed = files(project)
    assert main(["--root", str(project)]) == 0
    assert files(project) == committed


def test_a_changed_field_fails_the_check_until_it_is_generated(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = ["--check", "--root", str(project)]
    edit_spec(project, "durationMs", "elapsedMs")
    capsys.readouterr()
    assert main(check) == 1
    message = capsys.readouterr().err
    assert "generated_client/models/job.py" in message
    assert "local_runner/http/openapi.json" in message
    assert "make generate" in message
    assert main(["--root", str(project)]) == 0
    assert "elapsed_ms: int | None" in (project / PACKAGE / "models" / "job.py").read_text()
    assert main(check) == 0


def test_every_file_that_is_missing_or_was_not_generated_fails_the_check(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added = ["models/notes.py", "notes.txt", "api/jobs/.hidden"]
    for name in added:
        (project / PACKAGE / name).write_text("by hand\n")
    (project / PACKAGE / "types.py").unlink()

    assert main(["--check", "--root", str(project)]) == 1

    said = capsys.readouterr().err
    assert [name for name in [*added, "types.py"] if f"{PACKAGE}/{name}" not in said] == []


def test_a_warning_of_the_generator_fails_and_leaves_the_client_as_it_was(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The generator leaves out an operation whose body it cannot send, with no more than a warning.
    edit_spec(
        project,
        "content:\n          application/json:\n            schema:\n              "
        "$ref: '#/components/schemas/RunRequest'",
        "content:\n          application/cbor:\n            schema:\n              "
        "$ref: '#/components/schemas/RunRequest'",
    )
    before = files(project / PACKAGE)
    assert main(["--root", str(project)]) == 1
    assert "application/cbor" in capsys.readouterr().err
    assert files(project / PACKAGE) == before
    assert main(["--check", "--root", str(project)]) == 1
