"""The page of the measurements and its plots, from figures that nobody measured."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.figures import Plot, Row, Subject, duration, short
from benchmarks.plots import COLOURS, TEXT, write_plot
from benchmarks.report import NOTES_BEGIN, NOTES_END, Found, lines_of, page

SVG = "{http://www.w3.org/2000/svg}"
LEAST_CONTRAST = 4.0
"""More than the 3 to 1 that WCAG 2.1 wants of graphics and of large text."""

REACHED = Row("a fast thing", "1.05 ms", "bare: 1 ms", 1.05, most=1.05)
MISSED = Row("a slow thing", "40 jobs/s", "bare: 100 jobs/s", 0.4, least=0.5)
UNBOUND = Row("a large thing", "12 MB", "", 12, "MB")
UNKNOWN = Row("a hidden thing", "not measured: it hides", "", None)
CURVES = {"ours": {1.02: 0.004, 85.0: 0.5}, "bare": {1.02: 0.003, 85.0: 0.4, 1020.0: 4.0}}
PLOT = Plot("growth", "How `it` grows", "size (MB)", "seconds", CURVES)


def page_of(*found: Found, earlier: str = "") -> str:
    """The page of one subject."""
    subject = Subject("thing", "Things", "With a ruler.", lambda _: iter(()))
    return page([(subject, found)], {"date": "2026-01-31", "cores": "2"}, earlier)


def test_each_figure_stands_beside_what_it_is_compared_with() -> None:
    text = page_of(REACHED, MISSED, UNBOUND, UNKNOWN, PLOT)

    assert "| date | 2026-01-31 |\n| cores | 2 |\n" in text
    times = "\N{MULTIPLICATION SIGN}"
    assert (
        f"| a fast thing | 1.05 ms | bare: 1 ms | 1.05{times} | ≤ 1.05{times} | reached |\n"
        f"| a slow thing | 40 jobs/s | bare: 100 jobs/s | 0.40{times} | ≥ 0.5{times} "
        "| **missed** |\n"
        "| a large thing | 12 MB | \N{EN DASH} | 12.0 MB | \N{EN DASH} |  |\n"
        "| a hidden thing | not measured: it hides | \N{EN DASH} | \N{EN DASH} | \N{EN DASH} |  |\n"
    ) in text
    assert "- **Things.** With a ruler.\n" in text
    assert text.partition("## Growth")[2] == (
        "\n\n### How `it` grows\n\n![How it grows](benchmarks/growth.svg)\n\n"
        "| size (MB) | ours (seconds) | bare (seconds) |\n| --- | --- | --- |\n"
        "| 1 | 0.00400 | 0.00300 |\n| 85 | 0.500 | 0.400 |\n| 1,020 | \N{EN DASH} | 4.00 |\n"
    )


def test_notes_stay_when_the_page_is_written_anew() -> None:
    notes = "\nWhy the slow thing is slow.\n\n- because\n"
    first = page_of(MISSED)
    before, _, rest = first.partition(NOTES_BEGIN)
    edited = before + NOTES_BEGIN + notes + NOTES_END + rest.partition(NOTES_END)[2]

    second = page_of(REACHED, earlier=edited)

    assert NOTES_BEGIN + notes + NOTES_END in second
    assert second == page_of(REACHED, earlier=second)
    assert page_of(REACHED, earlier=first.replace(NOTES_END, "")) == page_of(REACHED)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("", "", "", 1.054, most=1.05), "reached"),
        (Row("", "", "", 1.056, most=1.05), "missed"),
        (Row("", "", "", 0.496, least=0.5), "reached"),
        (Row("", "", "", 0.494, least=0.5), "missed"),
        (Row("", "", "", 32.1, "MB", most=32), "missed"),
        (Row("", "", "", 0.904, "ms", most=0.9), "reached"),
        (Row("", "", "", 0.906, "ms", most=0.9), "missed"),
        (Row("", "", "", 20.4, "ms", most=20), "reached"),
        (Row("", "", "", 1.0), ""),
        (Row("", "not measured", "", None, most=1), ""),
    ],
)
def test_a_figure_is_judged_as_it_is_printed(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_the_terminal_shows_every_figure_of_the_page() -> None:
    found = (REACHED, MISSED, UNBOUND, UNKNOWN, PLOT)
    printed = "\n".join(line for one in found for line in lines_of(one))

    figures = page_of(*found).partition("## Results")[2]
    cells = [cell.strip(" *") for line in figures.splitlines() for cell in line.split("|")[1:]]
    assert [cell for cell in cells if re.search(r"\d", cell) and cell not in printed] == []


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0000421, "42.1 µs"), (0.00158, "1.58 ms"), (0.221, "221 ms"), (61.26, "61.3 s")],
)
def test_a_time_is_shown_in_the_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_number_is_shown_without_an_exponent() -> None:
    assert [short(number) for number in (0, 0.00012, 12.34, 123456.7)] == [
        "0", "0.000120", "12.3", "123,457",
    ]  # fmt: skip


@pytest.mark.parametrize("is_logarithmic", [True, False])
def test_a_plot_is_svg_with_text_and_without_a_background(
    tmp_path: Path, is_logarithmic: bool
) -> None:
    pytest.importorskip("matplotlib", reason="it is only in the environment of `make bench`")
    plot = Plot("one", "It `grows`", "MB", "s", CURVES, is_logarithmic)

    file = write_plot(plot, tmp_path)
    drawn = file.read_text("utf-8")

    root = ElementTree.fromstring(drawn)
    texts = {"".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")}
    assert {"It grows", "MB", "s", "ours", "bare", "1", "85", "1,020"} <= texts
    assert not re.search(r"#fff\b|#ffffff|\bwhite\b|#000\b|#000000|\bblack\b", drawn.lower())
    (background,) = root.findall(f".//{SVG}g[@id='patch_1']/{SVG}path")
    assert background.attrib["style"] == "fill: none"
    # The same figures, the same file.
    assert write_plot(plot, tmp_path).read_text("utf-8") == drawn


@pytest.mark.parametrize("colour", [TEXT, *COLOURS])
@pytest.mark.parametrize("background", ["#0d1117", "#ffffff"])
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
