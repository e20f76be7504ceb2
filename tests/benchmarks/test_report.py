"""The page of the benchmarks and its plots, from figures that nobody measured."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.figures import (
    Benchmark,
    Curve,
    Plot,
    Result,
    Row,
    at_least,
    at_most,
    duration,
    short,
)
from benchmarks.plots import COLOURS, TEXT, can_draw, write_plot
from benchmarks.report import NOTES_BEGIN, NOTES_END, Measured, lines_of, page

SVG = "{http://www.w3.org/2000/svg}"

DARK_PAGE, LIGHT_PAGE = "#0d1117", "#ffffff"
LEAST_CONTRAST = 4.0
"""More than the 3 to 1 that WCAG 2.1 wants of graphics and of large text."""

REACHED = Row("a fast thing", "1.05 ms", "bare: 1 ms", 1.05, reach=at_most(1.05))
MISSED = Row("a slow thing", "40 jobs/s", "bare: 100 jobs/s", 0.4, reach=at_least(0.5))
UNBOUND = Row("a large thing", "12 MB", "", 12, "MB")
PLOT = Plot(
    "growth",
    "How `it` grows",
    "size (MB)",
    "seconds",
    [
        Curve("ours", [(1.02, 0.004), (85, 0.5)]),
        Curve("bare", [(1.02, 0.003), (85, 0.4), (1020, 4)]),
    ],
)


needs_matplotlib = pytest.mark.skipif(
    not can_draw(), reason="matplotlib is only in the environment of `make bench`"
)


def measured(*rows: Row, plots: tuple[Plot, ...] = ()) -> Measured:
    """A benchmark that found this."""
    result = Result(rows, plots)
    return Measured(Benchmark("thing", "Things", "With a ruler.", lambda _: result), result)


def page_of(one: Measured, earlier: str = "") -> str:
    """The page of one benchmark."""
    return page([one], date="2026-01-31", full=False, machine={"cores": "2"}, earlier=earlier)


def rows_of(text: str) -> list[str]:
    """The lines of all tables."""
    return [line for line in text.splitlines() if line.startswith("|")]


def test_each_figure_stands_beside_what_it_is_compared_with() -> None:
    text = page_of(measured(REACHED, MISSED, UNBOUND))

    assert rows_of(text.partition("## Results")[2]) == [
        "| what | measured | compared with | figure | reach |  |",
        "| --- | --- | --- | --- | --- | --- |",
        "| a fast thing | 1.05 ms | bare: 1 ms | 1.05\N{MULTIPLICATION SIGN} "
        "| ≤ 1.05\N{MULTIPLICATION SIGN} | reached |",
        "| a slow thing | 40 jobs/s | bare: 100 jobs/s | 0.40\N{MULTIPLICATION SIGN} "
        "| ≥ 0.5\N{MULTIPLICATION SIGN} | **missed** |",
        "| a large thing | 12 MB | \N{EN DASH} | 12.0 MB | \N{EN DASH} |  |",
    ]


def test_the_page_says_when_where_and_how_it_was_measured() -> None:
    text = page_of(measured(REACHED))

    assert "| date | 2026-01-31 |\n| run | `make bench` |\n| cores | 2 |\n" in text
    assert "- **Things.** With a ruler.\n" in text


def test_the_growth_section_has_each_plot_and_its_figures() -> None:
    text = page_of(measured(plots=(PLOT,)))

    assert "### How `it` grows\n\n![How it grows](benchmarks/growth.svg)\n" in text
    assert rows_of(text.partition("## Growth")[2]) == [
        "| size (MB) | ours (seconds) | bare (seconds) |",
        "| --- | --- | --- |",
        "| 1 | 0.00400 | 0.00300 |",
        "| 85 | 0.500 | 0.400 |",
        "| 1,020 | \N{EN DASH} | 4.00 |",
    ]


def test_notes_stay_when_the_page_is_written_anew() -> None:
    notes = "\nWhy the slow thing is slow.\n\n- because\n"
    first = page_of(measured(MISSED))
    before, _, rest = first.partition(NOTES_BEGIN)
    edited = before + NOTES_BEGIN + notes + NOTES_END + rest.partition(NOTES_END)[2]

    second = page_of(measured(REACHED), earlier=edited)

    assert NOTES_BEGIN + notes + NOTES_END in second
    assert second == page_of(measured(REACHED), earlier=second)


def test_a_page_that_has_lost_a_marker_gets_empty_notes() -> None:
    first = page_of(measured(REACHED))

    assert page_of(measured(REACHED), earlier=first.replace(NOTES_END, "")) == first


@pytest.mark.parametrize(
    ("row", "is_reached"),
    [
        (Row("", "", "", 1.054, reach=at_most(1.05)), True),
        (Row("", "", "", 1.056, reach=at_most(1.05)), False),
        (Row("", "", "", 0.496, reach=at_least(0.5)), True),
        (Row("", "", "", 0.494, reach=at_least(0.5)), False),
        (Row("", "", "", 100.4, "ms", at_most(100)), True),
        (Row("", "", "", 32.1, "MB", at_most(32)), False),
        (Row("", "", "", 1.0), None),
    ],
)
def test_a_figure_is_judged_as_it_is_printed(row: Row, is_reached: bool | None) -> None:
    assert row.is_reached is is_reached


def test_the_terminal_shows_every_figure_of_the_page() -> None:
    one = measured(REACHED, MISSED, UNBOUND, plots=(PLOT,))
    printed = "\n".join(lines_of(one.result))

    cells = [cell.strip(" *") for row in rows_of(page_of(one)) for cell in row.split("|")]
    figures = [cell for cell in cells if re.search(r"\d", cell) and "2026" not in cell]

    assert [cell for cell in figures[1:] if cell.replace("`", "") not in printed] == []


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0000421, "42.1 µs"), (0.00158, "1.58 ms"), (0.221, "221 ms"), (61.26, "61.3 s")],
)
def test_a_time_is_shown_in_the_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_number_is_shown_without_an_exponent() -> None:
    assert [short(number) for number in (0, 0.00012, 12.34, 123456.7)] == [
        "0",
        "0.000120",
        "12.3",
        "123,457",
    ]


@needs_matplotlib
@pytest.mark.parametrize("is_logarithmic", [True, False])
def test_a_plot_is_svg_with_text_and_without_a_background(
    tmp_path: Path, is_logarithmic: bool
) -> None:
    plot = Plot("one", "It `grows`", "MB", "s", PLOT.curves, is_logarithmic)

    root = ElementTree.parse(write_plot(plot, tmp_path)).getroot()

    assert root.tag == f"{SVG}svg"
    texts = {"".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")}
    assert {"It grows", "MB", "s", "ours", "bare", "1", "85", "1,020"} <= texts
    drawn = ElementTree.tostring(root, encoding="unicode").lower()
    assert not re.search(r"#fff\b|#ffffff|\bwhite\b|#000\b|#000000|\bblack\b", drawn)
    (background,) = root.findall(f".//{SVG}g[@id='patch_1']/{SVG}path")
    assert background.attrib["style"] == "fill: none"


@needs_matplotlib
def test_a_plot_of_the_same_figures_is_the_same_file(tmp_path: Path) -> None:
    first = write_plot(PLOT, tmp_path).read_bytes()

    assert write_plot(PLOT, tmp_path).read_bytes() == first
    assert re.search(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T", first) is None


@pytest.mark.parametrize("colour", [TEXT, *COLOURS])
@pytest.mark.parametrize("background", [LIGHT_PAGE, DARK_PAGE])
def test_a_plot_can_be_read_on_light_and_on_dark(colour: str, background: str) -> None:
    lighter, darker = sorted((luminance(colour), luminance(background)), reverse=True)

    assert (lighter + 0.05) / (darker + 0.05) >= LEAST_CONTRAST


def luminance(colour: str) -> float:
    """The relative luminance of a colour, as WCAG 2.1 defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
