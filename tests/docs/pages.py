"""What the repository's pages say: their fenced snippets, their links, and the names that they mention."""

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
        """The page and the first line, cut short: enough to tell snippets apart."""
        return f"{self.page}: {self.text.partition(chr(10))[0][:36].rstrip()}"


def snippets() -> list[Snippet]:
    """Every fenced block of every page, in order. The Portuguese README repeats those of the English one."""
    return [
        Snippet(page.relative_to(ROOT).as_posix(), *found)
        for page in PAGES
        if page != PORTUGUESE
        for found in _FENCE.findall(page.read_text(encoding="utf-8"))
    ]


def fenced_blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of a page's fenced blocks."""
    return _FENCE.findall(page.read_text(encoding="utf-8"))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}


def code_spans(page: Path) -> list[str]:
    """What a page sets in code between words."""
    return _CODE.findall(prose(page))
