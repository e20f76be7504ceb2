"""Rows and plots of what `large_log` measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.child import Reading
from benchmarks.figures import Curve, Plot, Row, at_most, duration, short
from benchmarks.log_files import CHINESE_EVERY, MEGABYTE

PASS = "one pass by `httpx.Client` in pages of 1 MiB"


@dataclass(frozen=True)
class LogFigures:
    """What reading one log took.

    Attributes:
        megabytes: Its size.
        readings: By processes that had not read it before: `first page`, `last page`, `pass`.
        later_seconds: By a process that had: `block early`, `block late`, `httpx early`,
            `httpx late`.
    """

    megabytes: float
    readings: Mapping[str, Reading]
    later_seconds: Mapping[str, float]

    @property
    def page_megabytes(self) -> float:
        """The memory of the page that needed more."""
        return max(self.megabytes_of("first page"), self.megabytes_of("last page"))

    def megabytes_of(self, name: str) -> float:
        """The memory of one of the readings."""
        return self.readings[name].bytes_above_start / MEGABYTE


def first_page_rows(figures: LogFigures) -> list[Row]:
    """Pages of a log that was never read before."""
    seconds = {name: reading.seconds for name, reading in figures.readings.items()}
    compared = f"{PASS}: {duration(seconds['pass'])}"
    return [
        Row(
            f"{_log(figures)}: the {page}, never read before",
            duration(seconds[page]),
            compared,
            seconds[page] / seconds["pass"],
            reach=at_most(1.3),
        )
        for page in ("first page", "last page")
    ]


def chinese_row(figures: LogFigures, readings: Mapping[str, Reading]) -> Row:
    """The first page of another log of the size of `figures`, that is not only ASCII."""
    page, one_pass = readings["first page"].seconds, readings["pass"].seconds
    return Row(
        f"{_log(figures)}: the first page, never read before, where one line in "
        f"{CHINESE_EVERY} is Chinese",
        duration(page),
        f"{PASS}: {duration(one_pass)}",
        page / one_pass,
        reach=at_most(1.3),
    )


def later_page_rows(figures: LogFigures) -> list[Row]:
    """Pages of a log that was read before."""
    seconds = figures.later_seconds
    rows = [
        Row(
            f"{_log(figures)}: a later page of 100 lines, at line {line}",
            duration(seconds[f"block {where}"]),
            "a GET of the same bytes by a warm `httpx.Client`: "
            f"{duration(seconds[f'httpx {where}'])}",
            seconds[f"block {where}"] / seconds[f"httpx {where}"],
            reach=at_most(2),
        )
        for where, line in (("early", "100"), ("late", "999,900"))
    ]
    early, late = seconds["block early"], seconds["block late"]
    equal = Row(
        f"{_log(figures)}: a later page, at line 999,900",
        duration(late),
        f"the page at line 100: {duration(early)}",
        late / early,
        reach=at_most(1.1),
    )
    return [*rows, equal]


def walk_row(figures: LogFigures, walk: Reading, one_pass: Reading) -> Row:
    """The whole log by 1,000 lines a call."""
    return Row(
        f"{_log(figures)}: walked to its end by 1,000 lines a call",
        duration(walk.seconds),
        f"{PASS}: {duration(one_pass.seconds)}",
        walk.seconds / one_pass.seconds,
        reach=at_most(5),
    )


def memory_row(figures: LogFigures) -> Row:
    """The memory of a page."""
    return Row(
        f"{_log(figures)}: memory above start for a page",
        f"{short(figures.page_megabytes)} MB",
        f"one pass by `httpx.Client`: {short(figures.megabytes_of('pass'))} MB",
        figures.page_megabytes,
        "MB",
        at_most(32),
    )


def _log(figures: LogFigures) -> str:
    return f"log of {figures.megabytes:,.0f} MB"


def plots(logs: Sequence[LogFigures]) -> list[Plot]:
    """How the costs grow with the log."""

    def curve(label: str, cost: Callable[[LogFigures], float]) -> Curve:
        return Curve(label, [(log.megabytes, cost(log)) for log in logs])

    x_label = "size of the log (MB)"
    first_page = [
        curve("first page of 100 lines", lambda log: log.readings["first page"].seconds),
        curve("last page of 100 lines", lambda log: log.readings["last page"].seconds),
        curve("one pass by httpx", lambda log: log.readings["pass"].seconds),
    ]
    later_page = [
        curve("block, at the start", lambda log: log.later_seconds["block early"] * 1000),
        curve("block, at the end", lambda log: log.later_seconds["block late"] * 1000),
        curve("GET by httpx, at the end", lambda log: log.later_seconds["httpx late"] * 1000),
    ]
    memory = [
        curve("block", lambda log: log.page_megabytes),
        curve("one pass by httpx", lambda log: log.megabytes_of("pass")),
    ]
    title = "Reading a log that was never read before"
    return [
        Plot("log-first-page", title, x_label, "seconds", first_page),
        _flat_plot("log-later-page", "A later page of 100 lines", "milliseconds", later_page),
        _flat_plot("log-memory", "Memory above start for a page never read before", "MB", memory),
    ]


def _flat_plot(name: str, title: str, y_label: str, curves: Sequence[Curve]) -> Plot:
    return Plot(name, title, "size of the log (MB)", y_label, curves, is_logarithmic=False)
