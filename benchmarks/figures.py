"""What a measurement hands over: rows of the table, and plots of how a cost grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Unit = Literal["ratio", "s", "ms", "%", "MB"]

_DIGITS: dict[Unit, int] = {"ratio": 2, "s": 2, "ms": 0, "%": 1, "MB": 1}
"""Digits behind the point; a figure below 10 ms has two."""


@dataclass(frozen=True)
class Row:
    """One figure of the table.

    Attributes:
        what: What was measured.
        measured: What came out, with its unit.
        compared: What it is compared with and what came out there; "" for nothing.
        figure: The ratio of both, or what was measured if there is nothing to compare it with;
            None if it could not be measured, of which `measured` has the reason.
        unit: The unit of `figure`.
        most: The target: what `figure` may be at most.
        least: The target: what `figure` must be at least.
    """

    what: str
    measured: str
    compared: str
    figure: float | None
    unit: Unit = "ratio"
    most: float | None = None
    least: float | None = None

    @property
    def shown_figure(self) -> str:
        """The figure with its unit, "" if there is none."""
        if self.figure is None:
            return ""
        return _with_unit(f"{self.figure:.{self._digits}f}", self.unit)

    @property
    def shown_target(self) -> str:
        """The target with its unit, "" if there is none."""
        if self.most is not None:
            return f"≤ {_with_unit(f'{self.most:g}', self.unit)}"
        return "" if self.least is None else f"≥ {_with_unit(f'{self.least:g}', self.unit)}"

    @property
    def verdict(self) -> str:
        """Whether the printed figure keeps its target, "" if there is none of the two."""
        if self.figure is None or (self.most is None and self.least is None):
            return ""
        printed = round(self.figure, self._digits)
        is_kept = printed <= self.most if self.most is not None else printed >= (self.least or 0)
        return "reached" if is_kept else "missed"

    @property
    def _digits(self) -> int:
        is_short = self.unit == "ms" and self.figure is not None and self.figure < 10
        return 2 if is_short else _DIGITS[self.unit]


def _with_unit(number: str, unit: Unit) -> str:
    return f"{number}\N{MULTIPLICATION SIGN}" if unit == "ratio" else f"{number} {unit}"


@dataclass(frozen=True)
class Plot:
    """How a cost grows.

    Attributes:
        name: The name of its file, without the ending.
        title: What it shows.
        x_label: What grows, with its unit.
        y_label: What it costs, with its unit.
        curves: The cost by what grows, by the label of the curve.
        is_logarithmic: Whether both axes are; else only that of x.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Mapping[float, float]]
    is_logarithmic: bool = False


@dataclass(frozen=True)
class Settings:
    """How much to measure, and where to work.

    Attributes:
        folder: An empty folder for the files of the measurement.
        full: Whether to take the time for all sizes.
    """

    folder: Path
    full: bool = False


@dataclass(frozen=True)
class Subject:
    """Something that is measured by itself.

    Attributes:
        name: What `--only` takes.
        title: What it is called on the page.
        how: How it is measured, in one or two sentences.
        measure: Measures it.
    """

    name: str
    title: str
    how: str
    measure: Callable[[Settings], Iterator[Row | Plot]]


SUBJECTS: list[Subject] = []
"""Those of all modules that were imported."""


def subject(
    title: str, how: str
) -> Callable[[Callable[[Settings], Iterator[Row | Plot]]], Callable[..., object]]:
    """Add a function to `SUBJECTS`, under its name.

    Args:
        title: What it is called on the page.
        how: How it is measured.
    """

    def add(
        measure: Callable[[Settings], Iterator[Row | Plot]],
    ) -> Callable[[Settings], Iterator[Row | Plot]]:
        SUBJECTS.append(Subject(measure.__name__.replace("_", "-"), title, how, measure))
        return measure

    return add


def slower(what: str, ours: float, compared: str, theirs: float, most: float | None = None) -> Row:
    """The row of a time that is compared with another one; times are seconds."""
    shown = f"{compared}: {duration(theirs)}"
    return Row(what, duration(ours), shown, ours / theirs, most=most)


def quicker(
    what: str, ours: float, compared: str, theirs: float, least: float | None = None
) -> Row:
    """The row of a rate that is compared with another one; rates are jobs per second."""
    shown = f"{compared}: {short(theirs)} jobs/s"
    return Row(what, f"{short(ours)} jobs/s", shown, ours / theirs, least=least)


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
