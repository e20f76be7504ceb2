"""The command line of the measurements: `python -m benchmarks [--full] [--only NAME]`.

With `--url` it measures a script-runner that runs already, whichever it is, and writes nothing.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import calls, cluster, jobs, lists, logs, open_page, waits
from benchmarks.figures import SUBJECTS, Plot, Row, Settings, Subject
from benchmarks.measuring import BenchmarkFailed, machine
from benchmarks.plots import write_plot
from benchmarks.report import PLOTS_FOLDER, Found, lines_of, page
from scripts.blocks import ROOT
from scripts.stopping import exit_when_told

MODULES = (calls, logs, jobs, lists, open_page, waits, cluster)
"""In the order of the page; each adds its subjects when it is imported."""

SUBJECTS.sort(key=lambda one: [module.__name__ for module in MODULES].index(one.measure.__module__))

PAGE = "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code, 0 also if a target is missed."""
    options = _parser().parse_args(arguments)
    exit_when_told()
    # Requests to this machine must not go through a proxy, whoever sends them.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    # New processes must not compile what they import, which containers often want.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # One row alone would leave the page without the others.
    output = options.output or (None if options.only or options.url else ROOT / "docs")
    if output is not None and importlib.util.find_spec("matplotlib") is None:
        print("the plots need matplotlib: run `make bench`", file=sys.stderr)
        return 1
    chosen = [one for one in SUBJECTS if options.only in (None, one.name)]
    try:
        if options.url:
            for line in jobs.rates_of_any(options.url, options.script):
                print(line, flush=True)
            return 0
        measured = _measure_all(chosen, full=options.full)
    except BenchmarkFailed as failure:
        print(f"benchmark failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if output is not None:
        _write(output, measured, full=options.full)
    rows = [one for _, found in measured for one in found if isinstance(one, Row)]
    missed = sum(row.verdict == "missed" for row in rows)
    print(f"\n{missed} of the targets missed" if missed else "\nAll targets reached")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes, more rounds")
    parser.add_argument(
        "--only",
        choices=[one.name for one in SUBJECTS],
        help="measure one subject; nothing is written without --output",
    )
    parser.add_argument(
        "--output", type=Path, help=f"the folder of {PAGE} and its plots, instead of docs/"
    )
    parser.add_argument("--url", help="measure short jobs of the script-runner at this URL alone")
    parser.add_argument("--script", default="quick", help="the script that these jobs run")
    return parser


def _measure_all(
    subjects: Iterable[Subject], *, full: bool
) -> list[tuple[Subject, Sequence[Found]]]:
    # Deleted at the very end: ext4 without a journal is slow to make files while many others were
    # deleted less than a minute ago.
    with tempfile.TemporaryDirectory(prefix="script-runner-bench-") as folder:
        return [(one, _measure(one, Settings(Path(folder, one.name), full))) for one in subjects]


def _measure(subject: Subject, settings: Settings) -> Sequence[Found]:
    print(f"{subject.title} ({subject.name})", flush=True)
    begun = time.monotonic()
    settings.folder.mkdir()
    found = []
    for one in subject.measure(settings):
        found.append(one)
        print("\n".join(lines_of(one)), flush=True)
    print(f"  {time.monotonic() - begun:.0f} s\n", flush=True)
    return found


def _write(
    output: Path, measured: Sequence[tuple[Subject, Sequence[Found]]], *, full: bool
) -> None:
    plots = output / PLOTS_FOLDER
    plots.mkdir(parents=True, exist_ok=True)
    for earlier_plot in plots.glob("*.svg"):
        earlier_plot.unlink()
    path = output / PAGE
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "run": "`make bench FULL=1`" if full else "`make bench`",
        **machine(),
    }
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(page(measured, about, earlier), encoding="utf-8")
    for _, found in measured:
        for one in found:
            if isinstance(one, Plot):
                write_plot(one, plots)
    print(f"Written: {path} and its plots")


if __name__ == "__main__":
    sys.exit(main())
