"""The contents of the repository's pages: fenced snippets, links, and names in code spans."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORTUGUESE = ROOT / "README.pt-BR.md"
PAGES = (
    ROOT / "README.md",
    PORTUGUESE,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIAGRAM = "mermaid"
"""The language of diagrams. Those of the pages are made from the code, and compared with it."""
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block: the page it is on, its language, and its text."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """The page and the beginning of the first line, which identify a snippet."""
        return f"{self.page}: {self.text.partition(chr(10))[0][:36].rstrip()}"


def snippets() -> list[Snippet]:
    """Return every fenced block of every page but the diagrams, in order. The Portuguese README has those of the
    English one."""
    return [
        Snippet(page.relative_to(ROOT).as_posix(), *found)
        for page in PAGES
        if page != PORTUGUESE
        for found in _FENCE.findall(page.read_text(encoding="utf-8"))
        if found[0] != _DIAGRAM
    ]


def fenced_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of a page's fenced blocks."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}


def code_spans(page: Path) -> list[str]:
    """Return the code spans of a page."""
    return _CODE.findall(prose(page))
