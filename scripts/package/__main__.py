"""Make what is published, in `dist/`: the OOMOL package, the spec, wheel and sdist."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.package.build import ROOT, make
from scripts.package.oomol import PackagingFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.package", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("dist"),
        metavar="DIR",
        help="the folder to make, by default dist",
    )
    options = parser.parse_args(arguments)
    try:
        made = make(ROOT, options.output)
    except PackagingFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    for path in made:
        files = sum(file.is_file() for file in path.rglob("*"))
        print(f"{path}/ (the OOMOL package, {files} files)" if path.is_dir() else path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
