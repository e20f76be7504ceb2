"""The plots as SVG, legible on a light and on a dark page.

matplotlib is imported when a plot is drawn: the environment of the tests does not have it, and what
runs while something is measured should be small.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT = "#777777"
COLOURS = ("#3a7fd0", "#c8621b", "#2b8a5f", "#8a63d2")
"""Each has a contrast of more than 4 to 1 on white and on the dark page of GitHub."""
MARKERS = ("o", "s", "^", "D")
"""A curve can be told by its marker too."""

SIZE_INCHES = (7.0, 3.6)

_STYLE: Any = {
    # Text stays text, and ids do not change from run to run: a readable diff.
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": TEXT,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "grid.color": TEXT,
    "grid.alpha": 0.25,
}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def write_plot(plot: Plot, folder: Path) -> Path:
    """Draw a plot into a folder; returns the file."""
    import matplotlib
    from matplotlib.figure import Figure

    path = folder / f"{plot.name}.svg"
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        _draw(plot, figure.add_subplot())
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})
    # matplotlib ends many lines with a space.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")
    return path


def _draw(plot: Plot, axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    for curve, colour, marker in zip(plot.curves, COLOURS, MARKERS, strict=False):
        xs, ys = zip(*curve.points, strict=True)
        axes.plot(xs, ys, color=colour, marker=marker, linewidth=1.8, label=curve.label)
    axes.set_xscale("log")
    _show_numbers(axes, plot)
    if plot.is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_number))
    else:
        axes.set_ylim(0, 1.08 * max(y for curve in plot.curves for _, y in curve.points))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.set_title(plot.title.replace("`", ""), fontsize=12)
    axes.grid(visible=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _show_numbers(axes: Axes, plot: Plot) -> None:
    """Label the measured sizes instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_xticks(sorted({x for curve in plot.curves for x, _ in curve.points}))
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def _number(value: float, _position: int) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
