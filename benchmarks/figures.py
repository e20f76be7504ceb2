"""What a benchmark hands over: rows of the table, and curves of how a cost grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Unit = Literal["ratio", "s", "ms", "%", "MB"]

_DIGITS: dict[Unit, int] = {"ratio": 2, "s": 2, "ms": 0, "%": 1, "MB": 1}
"""Digits behind the point. A figure is judged as it is printed."""


@dataclass(frozen=True)
class Settings:
    """How much to measure, and where to work.

    Attributes:
        folder: An empty folder for the files of the benchmarks.
        full: Whether to take the time for all sizes.
    """

    folder: Path
    full: bool = False


@dataclass(frozen=True)
class Reach:
    """The bound that a figure is to keep.

    Attributes:
        bound: In the unit of the figure.
        is_most: Whether the figure may be at most, or must be at least, the bound.
    """

    bound: float
    is_most: bool = True


def at_most(bound: float) -> Reach:
    """A reach that larger figures miss."""
    return Reach(bound)


def at_least(bound: float) -> Reach:
    """A reach that smaller figures miss."""
    return Reach(bound, is_most=False)


@dataclass(frozen=True)
class Row:
    """One figure of the table.

    Attributes:
        what: What was measured.
        measured: What came out, with its unit.
        compared: What it is compared with and what came out there; "" for nothing.
        figure: The ratio of both, or what was measured where there is nothing to compare with.
        unit: The unit of `figure`.
        reach: The bound of `figure`; None where it has none.
    """

    what: str
    measured: str
    compared: str
    figure: float
    unit: Unit = "ratio"
    reach: Reach | None = None

    @property
    def shown_figure(self) -> str:
        """The figure with its unit."""
        return _with_unit(f"{self.figure:.{_DIGITS[self.unit]}f}", self.unit)

    @property
    def shown_reach(self) -> str:
        """The bound, `""` where there is none."""
        if self.reach is None:
            return ""
        sign = "≤" if self.reach.is_most else "≥"
        return f"{sign} {_with_unit(f'{self.reach.bound:g}', self.unit)}"

    @property
    def is_reached(self) -> bool | None:
        """Whether the printed figure keeps its bound; None where there is none."""
        if self.reach is None:
            return None
        printed = round(self.figure, _DIGITS[self.unit])
        return printed <= self.reach.bound if self.reach.is_most else printed >= self.reach.bound


def _with_unit(number: str, unit: Unit) -> str:
    return f"{number}\N{MULTIPLICATION SIGN}" if unit == "ratio" else f"{number} {unit}"


@dataclass(frozen=True)
class Curve:
    """One line of a plot, as (x, y)."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """How a cost grows.

    Attributes:
        name: The name of its file, without the ending.
        title: What it shows.
        x_label: What grows, with its unit.
        y_label: What it costs, with its unit.
        curves: The lines.
        is_logarithmic: Whether both axes are; else only that of x.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    is_logarithmic: bool = True


@dataclass(frozen=True)
class Result:
    """What a benchmark found.

    Attributes:
        rows: Its rows of the table.
        plots: Its plots.
    """

    rows: Sequence[Row]
    plots: Sequence[Plot] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """Something that can be measured by itself.

    Attributes:
        name: What `--only` takes.
        title: Its subject.
        how: How it is measured, in one or two sentences.
        measure: Measures it.
    """

    name: str
    title: str
    how: str
    measure: Callable[[Settings], Result]


def duration(seconds: float) -> str:
    """Three digits of a time, in the unit that suits it."""
    if seconds >= 1:
        return f"{short(seconds)} s"
    if seconds >= 1e-3:
        return f"{short(seconds * 1e3)} ms"
    return f"{short(seconds * 1e6)} µs"


def short(number: float) -> str:
    """Three digits of a number, without an exponent."""
    if not number:
        return "0"
    return f"{number:,.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"
