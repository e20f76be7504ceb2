"""The command line of the benchmarks: `python -m benchmarks [--full] [--only NAME]`."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.blocks import ROOT
from benchmarks.calls import NEW_PROCESS, WARM_CALL
from benchmarks.figures import Benchmark, Settings
from benchmarks.history import HISTORY
from benchmarks.large_log import LARGE_LOG
from benchmarks.many_clients import MANY_CLIENTS
from benchmarks.output import WHOLE_OUTPUT
from benchmarks.plots import can_draw, write_plot
from benchmarks.report import PLOTS_FOLDER, Measured, lines_of, page
from benchmarks.runner import BenchmarkFailed
from benchmarks.short_jobs import SHORT_JOBS
from benchmarks.sync_runs import SYNC_RUNS
from benchmarks.waits import WAITS

BENCHMARKS = (
    WARM_CALL,
    NEW_PROCESS,
    LARGE_LOG,
    WHOLE_OUTPUT,
    SYNC_RUNS,
    WAITS,
    SHORT_JOBS,
    HISTORY,
    MANY_CLIENTS,
)

PAGE = "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; returns the exit code, 0 also where a reach is missed."""
    options = _parser().parse_args(arguments)
    # An exit, which stops the runner that is measured; a kill would leave it behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Requests to this machine must not go through a proxy, whoever sends them.
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    # One row alone would leave the page without the others.
    output = options.output or (None if options.only else ROOT / "docs")
    if output is not None and not can_draw():
        print("the plots need matplotlib: run `make bench`", file=sys.stderr)
        return 1
    chosen = [one for one in BENCHMARKS if options.only in (None, one.name)]
    try:
        measured = _measure_all(chosen, full=options.full)
    except BenchmarkFailed as failure:
        print(f"benchmark failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    if options.json is not None:
        options.json.write_text(_as_json(measured), encoding="utf-8")
    if output is not None:
        _write(output, measured, full=options.full)
    missed = sum(row.is_reached is False for one in measured for row in one.result.rows)
    print(f"\n{missed} of the reaches missed" if missed else "\nAll reaches reached")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes, more rounds")
    parser.add_argument(
        "--only",
        choices=[one.name for one in BENCHMARKS],
        help="measure one subject; nothing is written without --output",
    )
    parser.add_argument(
        "--output", type=Path, help=f"the folder of {PAGE} and its plots, instead of docs/"
    )
    parser.add_argument("--json", type=Path, help="a file for the raw figures")
    return parser


def _measure_all(benchmarks: Iterable[Benchmark], *, full: bool) -> list[Measured]:
    # Deleted at the very end: ext4 without a journal is slow to make files while many others were
    # deleted less than a minute ago.
    with tempfile.TemporaryDirectory(prefix="script-runner-bench-") as folder:
        return [_measure(one, Settings(Path(folder, one.name), full)) for one in benchmarks]


def _measure(benchmark: Benchmark, settings: Settings) -> Measured:
    print(f"{benchmark.title} ({benchmark.name})", flush=True)
    begun = time.monotonic()
    settings.folder.mkdir()
    result = benchmark.measure(settings)
    for line in lines_of(result):
        print(line)
    print(f"  {time.monotonic() - begun:.0f} s\n", flush=True)
    return Measured(benchmark, result)


def _write(output: Path, measured: Iterable[Measured], *, full: bool) -> None:
    measured = list(measured)
    plots = output / PLOTS_FOLDER
    plots.mkdir(parents=True, exist_ok=True)
    path = output / PAGE
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = page(measured, date=date, full=full, machine=machine.description(), earlier=earlier)
    path.write_text(text, encoding="utf-8")
    for one in measured:
        for plot in one.result.plots:
            write_plot(plot, plots)
    print(f"Written: {path} and its plots")


def _as_json(measured: Iterable[Measured]) -> str:
    content = {one.benchmark.name: dataclasses.asdict(one.result) for one in measured}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
