"""`docs/benchmarks.md`: the table, how it was measured, the plots, and the notes that stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Benchmark, Plot, Result, Row, short

NOTES_BEGIN = "<!-- notes -->"
NOTES_END = "<!-- end of notes -->"

PLOTS_FOLDER = "benchmarks"
"""Where the plots are, beside the page."""

_INTRODUCTION = """\
# Benchmarks

`make bench` measures this in a few minutes and writes this page; `make bench FULL=1` takes about
ten, for larger sizes. All figures are of one run on one machine, and each stands beside what it is
compared with: the ratios say more than the times. A figure is judged as it is printed; where it
misses its reach the table says **missed**.
"""

_NOTHING = "\N{EN DASH}"
_NO_NOTES = "\n<!-- Write here: what stands between notes and end of notes is kept. -->\n"


@dataclass(frozen=True)
class Measured:
    """A benchmark and what it found."""

    benchmark: Benchmark
    result: Result


def page(
    measured: Sequence[Measured],
    *,
    date: str,
    full: bool,
    machine: Mapping[str, str],
    earlier: str = "",
) -> str:
    """The page.

    Args:
        measured: What was found, in the order it is shown.
        date: The day of the run.
        full: Whether all sizes were measured.
        machine: What the figures depend on, by name.
        earlier: The page as it was; its notes are kept.
    """
    kind = "`make bench FULL=1`" if full else "`make bench`"
    about = [("date", date), ("run", kind), *machine.items()]
    parts = [
        _INTRODUCTION,
        _table(("machine", ""), about),
        f"## Results\n\n{_results(measured)}",
        f"## Notes\n\n{NOTES_BEGIN}{notes_of(earlier)}{NOTES_END}\n",
        f"## How it is measured\n\n{_methods(measured)}",
        f"## Growth\n\n{_growth(measured)}",
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def notes_of(earlier: str) -> str:
    """What stands between the comments of a page; a hint where it has none."""
    _, begin, rest = earlier.partition(NOTES_BEGIN)
    notes, end, _ = rest.partition(NOTES_END)
    return notes if begin and end else _NO_NOTES


def lines_of(result: Result) -> Iterable[str]:
    """The rows of a result for a terminal."""
    for row in result.rows:
        yield f"  {row.what.replace('`', '')}"
        compared = f"  |  {row.compared.replace('`', '')}" if row.compared else ""
        yield f"    {row.measured}{compared}"
        reach = f"  (reach {row.shown_reach}: {_verdict(row).strip('*')})" if row.reach else ""
        yield f"    {row.shown_figure}{reach}"
    for plot in result.plots:
        yield f"  {plot.title.replace('`', '')}: {plot.y_label} by {plot.x_label}"
        for x, values in _plot_rows(plot):
            cells = zip(plot.curves, values, strict=True)
            shown = ", ".join(f"{curve.label} {value}" for curve, value in cells)
            yield f"    {x:>7}  {shown}"


def _results(measured: Sequence[Measured]) -> str:
    return _table(
        ("what", "measured", "compared with", "figure", "reach", ""),
        (
            (
                row.what,
                row.measured,
                row.compared or _NOTHING,
                row.shown_figure,
                row.shown_reach or _NOTHING,
                _verdict(row),
            )
            for one in measured
            for row in one.result.rows
        ),
    )


def _verdict(row: Row) -> str:
    return {True: "reached", False: "**missed**", None: ""}[row.is_reached]


def _methods(measured: Sequence[Measured]) -> str:
    return "".join(f"- **{one.benchmark.title}.** {one.benchmark.how}\n" for one in measured)


def _growth(measured: Sequence[Measured]) -> str:
    return "\n".join(_section(plot) for one in measured for plot in one.result.plots)


def _section(plot: Plot) -> str:
    head = (plot.x_label, *(f"{curve.label} ({plot.y_label})" for curve in plot.curves))
    figures = _table(head, ((x, *values) for x, values in _plot_rows(plot)))
    title = plot.title.replace("`", "")
    return f"### {plot.title}\n\n![{title}]({PLOTS_FOLDER}/{plot.name}.svg)\n\n{figures}"


def _plot_rows(plot: Plot) -> Iterable[tuple[str, list[str]]]:
    by_x = [dict(curve.points) for curve in plot.curves]
    for x in sorted({x for points in by_x for x in points}):
        yield f"{x:,.0f}", [short(points[x]) if x in points else _NOTHING for points in by_x]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
