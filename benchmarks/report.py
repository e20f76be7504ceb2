"""`docs/benchmarks.md`: the table, how it was measured, the plots, and the notes that stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.figures import Plot, Row, Subject, short

NOTES_BEGIN = "<!-- notes -->"
NOTES_END = "<!-- end of notes -->"

PLOTS_FOLDER = "benchmarks"
"""Where the plots are, beside the page."""

_INTRODUCTION = """\
# Benchmarks

`make bench` measures this in three minutes and writes this page; `make bench FULL=1` takes about
ten, for larger sizes. All figures are of one run on one machine, and each stands beside what it is
compared with: the ratios say more than the times. A figure is judged as it is printed; if it misses
its target the table says **missed**.
"""

_NOTHING = "\N{EN DASH}"
_NO_NOTES = "\n<!-- Write here: what stands between notes and end of notes is kept. -->\n"

Found = Row | Plot


def page(
    measured: Sequence[tuple[Subject, Sequence[Found]]],
    about: Mapping[str, str],
    earlier: str = "",
) -> str:
    """The page.

    Args:
        measured: What was found of each subject, in the order it is shown.
        about: What the figures depend on, by name: the day, the machine.
        earlier: The page as it was; its notes are kept.
    """
    found = [one for _, several in measured for one in several]
    rows = [one for one in found if isinstance(one, Row)]
    plots = [one for one in found if isinstance(one, Plot)]
    cells = (
        (
            row.what,
            row.measured,
            row.compared or _NOTHING,
            row.shown_figure or _NOTHING,
            row.shown_target or _NOTHING,
            "**missed**" if row.verdict == "missed" else row.verdict,
        )
        for row in rows
    )
    methods = "".join(f"- **{subject.title}.** {subject.how}\n" for subject, _ in measured)
    parts = [
        _INTRODUCTION,
        _table(("machine", ""), about.items()),
        "## Results\n\n"
        + _table(("what", "measured", "compared with", "figure", "target", ""), cells),
        f"## Notes\n\n{NOTES_BEGIN}{notes_of(earlier)}{NOTES_END}\n",
        f"## How it is measured\n\n{methods}",
        "## Growth\n\n" + "\n".join(map(_section, plots)),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def notes_of(earlier: str) -> str:
    """What stands between the comments of a page; a hint if it has none."""
    _, begin, rest = earlier.partition(NOTES_BEGIN)
    notes, end, _ = rest.partition(NOTES_END)
    return notes if begin and end else _NO_NOTES


def lines_of(found: Found) -> Iterator[str]:
    """A row or a plot for a terminal."""
    if isinstance(found, Row):
        yield f"  {found.what}"
        yield f"    {found.measured}" + (f"  |  {found.compared}" if found.compared else "")
        target = f"  (target {found.shown_target}: {found.verdict})" if found.verdict else ""
        yield f"    {found.shown_figure or _NOTHING}{target}"
    else:
        yield f"  {found.title}: {found.y_label} by {found.x_label}"
        for x, values in _plot_rows(found):
            cells = zip(found.curves, values, strict=True)
            yield f"    {x:>7}  " + ", ".join(f"{label} {value}" for label, value in cells)


def _section(plot: Plot) -> str:
    head = (plot.x_label, *(f"{label} ({plot.y_label})" for label in plot.curves))
    figures = _table(head, ((x, *values) for x, values in _plot_rows(plot)))
    title = plot.title.replace("`", "")
    return f"### {plot.title}\n\n![{title}]({PLOTS_FOLDER}/{plot.name}.svg)\n\n{figures}"


def _plot_rows(plot: Plot) -> Iterator[tuple[str, list[str]]]:
    curves = plot.curves.values()
    for x in sorted({x for points in curves for x in points}):
        yield f"{x:,.0f}", [short(points[x]) if x in points else _NOTHING for points in curves]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
