"""The plots as SVG, legible on a light and on a dark page.

matplotlib is imported when a plot is drawn: the environment of the tests does not have it, and what
runs while something is measured should be small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import Plot

TEXT = "#777777"
COLOURS = ("#3a7fd0", "#c8621b", "#2b8a5f", "#8a63d2")
"""Each has a contrast of more than 4 to 1 on white and on the dark page of GitHub."""

MARKERS = ("o", "s", "^", "D")
"""A curve can be told by its marker too."""

_STYLE: Any = {
    # Text stays text, and ids do not change from run to run: a readable diff.
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "font.family": "sans-serif",
    "font.size": 11,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT
    ),
    "grid.color": TEXT,
    "grid.alpha": 0.25,
}


def write_plot(plot: Plot, folder: Path) -> Path:
    """Draw a plot into a folder; returns the file."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    path = folder / f"{plot.name}.svg"
    numbers = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.0, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (label, points), colour, marker in zip(
            plot.curves.items(), COLOURS, MARKERS, strict=False
        ):
            axes.plot(*zip(*points.items(), strict=True), color=colour, marker=marker, label=label)
        axes.set_xscale("log")
        # The measured sizes instead of powers of ten.
        axes.set_xticks(sorted({x for points in plot.curves.values() for x in points}))
        axes.xaxis.set_major_formatter(numbers)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
        if plot.is_logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(numbers)
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        axes.set_title(plot.title.replace("`", ""), fontsize=12)
        axes.grid(visible=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    # matplotlib ends many lines with a space.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")
    return path
