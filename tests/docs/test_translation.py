"""The two READMEs say the same: as many sections, the same code, tables, links and numbers."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import README, ROOT, Section, code_of, read_sections

TRANSLATION = ROOT / "README_zh-CN.md"
THE_OTHER_ONE = {"README.md", "README_zh-CN.md"}

ENGLISH, CHINESE = read_sections(README), read_sections(TRANSLATION)
PAIRS = [
    pytest.param(english, chinese, id=english.title or "before-the-first-heading")
    for english, chinese in zip(ENGLISH, CHINESE, strict=False)
]


def test_the_headings_are_of_the_same_levels_in_the_same_order() -> None:
    assert [section.level for section in CHINESE] == [section.level for section in ENGLISH]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_code_blocks_are_the_same(english: Section, chinese: Section) -> None:
    assert chinese.code_blocks == english.code_blocks


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_tables_have_one_shape_and_the_same_code_in_their_cells(
    english: Section, chinese: Section
) -> None:
    assert shapes(chinese) == shapes(english)


def shapes(section: Section) -> list[list[list[list[str]]]]:
    """The code in each cell of each row of each table."""
    return [[[code_of(cell) for cell in row] for row in table] for table in section.tables]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_prose_has_the_same_code_and_links(english: Section, chinese: Section) -> None:
    assert set(chinese.inline_code) == set(english.inline_code)
    # In another order if the sentence wants it.
    assert targets(chinese) == targets(english)


def targets(section: Section) -> list[str]:
    """What a section links to; headings of its own page are named in its own language."""
    other = set(section.links) - THE_OTHER_ONE
    return sorted("#" if link.startswith("#") else link for link in other)


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_prose_has_the_same_numbers(english: Section, chinese: Section) -> None:
    assert numbers(chinese) == numbers(english)


def numbers(section: Section) -> list[str]:
    prose = re.sub(r"\(#.*?\)", "", section.prose)
    return sorted(re.findall(r"-?\d[\d,.]*\d|-?\d", prose))


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_prose_has_as_many_paragraphs_and_items(english: Section, chinese: Section) -> None:
    assert outline(chinese) == outline(english)


def outline(section: Section) -> list[str]:
    """The first character of each paragraph that is an item or a row; "p" for a paragraph."""
    paragraphs = re.split(r"\n\s*\n|\n(?=[-|])", section.prose.strip())
    return [paragraph[:1] if paragraph[:1] in ("-", "|") else "p" for paragraph in paragraphs]


def test_each_readme_links_to_the_other_at_the_same_place() -> None:
    title, other_title = ENGLISH[1], CHINESE[1]

    assert title.title == other_title.title
    assert "\n\n[中文说明](README_zh-CN.md)\n\n" in title.prose
    assert "\n\n[English](README.md)\n\n" in other_title.prose


def test_the_translation_is_not_left_in_english() -> None:
    for section in CHINESE[2:]:
        for paragraph in re.findall(r"(?:.+\n?)+", section.prose.strip()):
            assert re.search("[\u4e00-\u9fff]", paragraph), paragraph


def test_a_line_of_chinese_is_not_broken() -> None:
    """A line break between two Chinese characters is shown as a space."""
    for section in CHINESE:
        assert not re.search("[\u3000-\u9fff\uff00-\uffef]\n[ ]*[\u4e00-\u9fff]", section.prose)
