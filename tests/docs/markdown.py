"""What the tests ask of a Markdown file: its headings, code blocks, tables, links, sections."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"

_NOT_OURS = {".venv", "dist", "node_modules"}
_HEADING = re.compile(r"(#{1,6}) (.+)")
_INLINE_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def markdown_files() -> list[Path]:
    """Every Markdown file of the project, sorted."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    ours = (
        path
        for path in found
        if not any(part in _NOT_OURS or part.startswith(".") for part in path.parts)
    )
    return sorted(ROOT / path for path in ours)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block: the language after the fence, and what stands in it."""

    language: str
    text: str


@dataclass
class Section:
    """What stands under a heading, down to the next one of any level.

    Attributes:
        level: The number of `#`; 0 for what stands before the first heading.
        title: The heading.
        prose: Its lines outside code blocks, as one text.
        code_blocks: Its fenced blocks.
        tables: Its tables: rows of cells; the row below the header is left out.
    """

    level: int
    title: str
    prose: str = ""
    code_blocks: list[CodeBlock] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def inline_code(self) -> list[str]:
        """The texts between backticks, in order."""
        return _INLINE_CODE.findall(self.prose)

    @property
    def links(self) -> list[str]:
        """The targets of the links, in order."""
        return _LINK.findall(_INLINE_CODE.sub("", self.prose))


def read_sections(path: Path) -> list[Section]:
    """The sections of a file; the first is what stands before the first heading."""
    sections = [Section(0, "")]
    lines = iter(path.read_text("utf-8").splitlines())
    for line in lines:
        section = sections[-1]
        if line.startswith("```"):
            code = list(iter(lines.__next__, "```"))
            section.code_blocks.append(CodeBlock(line.removeprefix("```"), "\n".join(code) + "\n"))
        elif match := _HEADING.fullmatch(line):
            sections.append(Section(len(match[1]), match[2]))
        else:
            is_first_row = not section.prose.rpartition("\n")[2].startswith("|")
            section.prose += f"\n{line}"
            if line.startswith("|"):
                _add_row(section, line, is_first_row=is_first_row)
    return sections


def _add_row(section: Section, line: str, *, is_first_row: bool) -> None:
    if is_first_row:
        section.tables.append([])
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if not all(re.fullmatch(":?-+:?", cell) for cell in cells):
        section.tables[-1].append(cells)


def section_of(path: Path, title: str) -> Section:
    """The section of a file with a title."""
    return next(section for section in read_sections(path) if section.title == title)


def code_blocks(path: Path, language: str) -> list[str]:
    """The texts of the fenced blocks of a language, in order."""
    return [
        block.text
        for section in read_sections(path)
        for block in section.code_blocks
        if block.language == language
    ]


def flat_text(path: Path) -> str:
    """The prose of a file on one line, so that a phrase is found wherever its lines break."""
    return " ".join(" ".join(section.prose for section in read_sections(path)).split())


def code_of(cell: str) -> list[str]:
    """The texts between backticks in a cell."""
    return _INLINE_CODE.findall(cell)


def anchors(path: Path) -> set[str]:
    """The anchors of a file's headings, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for section in read_sections(path)[1:]:
        slug = re.sub(r"[^\w\- ]", "", section.title.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
