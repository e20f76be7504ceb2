"""Generate what is made of the specs in `openapi/`, or check that it is up to date.

That is `generated_client/`, and the JSON document that the local runner serves.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts import spec

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "generated_client"


class GenerationFailed(Exception):
    """The generator ended with an error or a warning; the message is what it printed."""


def generate_into(folder: Path, root: Path) -> Path:
    """Generate the client package into a folder that has none yet.

    Args:
        folder: An existing folder; the package becomes its subfolder `generated_client`.
        root: The project folder that holds `openapi/`.

    Returns:
        The path of the generated package.

    Raises:
        GenerationFailed: On any error or warning of the generator; a warning means an operation
            or a field was left out, or that the formatter is missing.
    """
    package = folder / PACKAGE
    generator = subprocess.run(
        [
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            f"--path={root / 'openapi' / 'script-runner.yaml'}",
            f"--config={root / 'openapi' / 'generator.yaml'}",
            f"--output-path={package}",
            "--meta=none",
            "--fail-on-warning",
        ],
        # The generator formats with the `ruff` it finds on PATH; it must be the pinned one.
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if generator.returncode != 0:
        raise GenerationFailed(generator.stdout.strip())
    # The generator marks a package as typed only if it also writes a pyproject.toml.
    (package / "py.typed").touch()
    return package


def regenerate(root: Path) -> None:
    """Replace `root/generated_client` and the document by what the specs say now.

    The old package is deleted only when the new one is complete.

    Raises:
        GenerationFailed: See `generate_into`; the old package is untouched then.
    """
    with tempfile.TemporaryDirectory(dir=root, prefix=".generate-") as aside:
        package = generate_into(Path(aside), root)
        shutil.rmtree(root / PACKAGE, ignore_errors=True)
        package.rename(root / PACKAGE)
    (root / spec.FILE).write_text(spec.bundled(root), encoding="utf-8")


def stale_files(root: Path) -> list[str]:
    """Compare `root/generated_client` and the document with what the specs say now.

    Returns:
        The files that differ, are missing or should not be there, tracked by git or not, sorted;
        empty when all is up to date.

    Raises:
        GenerationFailed: See `generate_into`.
    """
    with tempfile.TemporaryDirectory(prefix="generate-") as aside:
        wanted = generate_into(Path(aside), root)
        present = root / PACKAGE
        names = {*_files_below(wanted), *_files_below(present)}
        _, differing, missing = filecmp.cmpfiles(wanted, present, names, shallow=False)
        stale = [f"{PACKAGE}/{name}" for name in [*differing, *missing]]
    document = root / spec.FILE
    if not document.exists() or document.read_text("utf-8") != spec.bundled(root):
        stale.append(spec.FILE.as_posix())
    return sorted(stale)


def _files_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project folder")
    options = parser.parse_args(arguments)
    try:
        if not options.check:
            regenerate(options.root)
            print(f"{PACKAGE}/ and {spec.FILE} are generated from openapi/")
            return 0
        stale = stale_files(options.root)
    except GenerationFailed as failure:
        print(f"{failure}\nThe generator failed; {PACKAGE}/ is as it was.", file=sys.stderr)
        return 1
    if stale:
        print(
            "these are not what openapi/ generates:\n  "
            + "\n  ".join(stale)
            + "\nRun `make generate` and commit the result; never edit these files by hand.",
            file=sys.stderr,
        )
        return 1
    print(f"{PACKAGE}/ and {spec.FILE} are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
