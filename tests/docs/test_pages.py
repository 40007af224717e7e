"""The links, paths, commands, tasks and decisions in the pages exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from cli.main import app
from shared.core.strict_yaml import read_value
from tests.docs.pages import PAGES, PORTUGUESE, ROOT, anchors, code_spans, fenced_blocks, links, prose

# Files that running or installing creates, which are not in a checkout.
MADE = (".venv", ".lastro")
TOP = ("cli/", "docs/", "embedded/", "events/", "functions/", "kafka-sources/", "knative/", "shared/", "tests/", ".ci/")
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pages
def test_links_have_targets(page: Path) -> None:
    """The target of a relative link is a file of this repository, and its anchor is a heading there."""
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_paths_exist(page: Path) -> None:
    """A path in a code span exists, with any value for its `<parts>` and `{choices}`."""
    for span in code_spans(page):
        if not span.startswith(TOP) or " " in span:
            continue
        pattern = re.sub(r"<\w+>|NNNN", "*", span.rstrip("/"))
        choices = re.search(r"\{(.+?)\}", pattern)
        for choice in choices[1].split(",") if choices else [""]:
            wanted = pattern.replace(choices[0], choice) if choices else pattern
            assert list(ROOT.glob(wanted)) or wanted in NEW_FILES, span


# The README's example, which its reader creates.
NEW_FILES = {"functions/payments/thank_payer.py", "shared/records/thanks.py"}


def commands() -> set[str]:
    """Return every command of the command line, with its group."""
    found: set[str] = set()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]  # it is a group
        inner = getattr(command, "commands", None)
        found |= {f"{name} {each}" for each in inner} if inner else {name}
    return found


def test_readme_lists_every_command() -> None:
    """The README's table has each command once and no other."""
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\nEach takes")[0]
    listed: list[str] = []
    for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE):
        words = [span.split() for span in re.findall(r"`([^`]+)`", row)]
        group = words[0][0]
        for each in words:
            plain = [word for word in each if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
            listed.append(" ".join(plain if plain[0] == group else [group, *plain]))
    assert sorted(listed) == sorted(commands())


def test_the_portuguese_readme_has_the_same_commands() -> None:
    """Both READMEs have the same fenced blocks and code spans, and as many headings, list items and table rows."""
    english = ROOT / "README.md"
    assert fenced_blocks(PORTUGUESE) == fenced_blocks(english)
    assert sorted(code_spans(PORTUGUESE)) == sorted(code_spans(english))
    for mark in ("#", "|", "- "):
        count, expected = (
            sum(line.startswith(mark) for line in prose(page).splitlines()) for page in (PORTUGUESE, english)
        )
        assert count == expected, mark


@pages
def test_commands_and_tasks_exist(page: Path) -> None:
    """Each `lastro` command and task in a page exists."""
    tasks = set(read_value((ROOT / "Taskfile.yml").read_text())["tasks"])
    known = commands() | {command.split()[0] for command in commands()}
    for span in code_spans(page):
        task = re.match(r"(?:\.venv/bin/)?task ([a-z:]+)", span)
        assert task is None or task[1] in tasks, span
        command = re.match(r"(?:\./)?lastro ([a-z-]+)(?: ([a-z-]+))?", span)
        if command is not None and not command[1].startswith("-"):
            assert command[1] in known, span


def test_every_decision_is_in_the_index() -> None:
    """The index lists each page once, in order, by its number and its title."""
    index = (ROOT / "docs/decisions/README.md").read_text()
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", index, re.MULTILINE)
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [row[1] for row in rows] == [file.name for file in files]
    for (number, name, title), file in zip(rows, files, strict=True):
        assert name.startswith(number)
        assert file.read_text().partition("\n")[0] == f"# {number}. {title}"


def test_code_names_decisions_that_exist() -> None:
    """Each decision that a comment refers to exists."""
    for folder in TOP:
        for file in (ROOT / folder).rglob("*"):
            if file.suffix not in (".py", ".yaml", ".yml", ".md") or MADE[0] in file.parts:
                continue
            for number in re.findall(r"docs/decisions/(\d{4})", file.read_text(encoding="utf-8")):
                assert list((ROOT / "docs/decisions").glob(f"{number}-*.md")), file


def test_architecture_lists_every_port() -> None:
    """The page has a line for each port; `lifecycle` says how the adapters of all are opened and closed."""
    rows = re.findall(r"^\| ([\w ]+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    listed = {row.replace(" ", "_") for row in rows}
    assert {file.stem for file in (ROOT / "shared/ports").glob("[a-z]*.py")} - {"lifecycle"} <= listed


def test_architecture_lists_every_domain() -> None:
    """The page has a line for each domain, and the glossary names its folder."""
    domains = {folder.name for folder in (ROOT / "functions").iterdir() if (folder / "__init__.py").exists()}
    listed = set(re.findall(r"^\| (\w+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE))
    named = {span.removeprefix("functions/") for span in code_spans(ROOT / "docs/glossary.md")}
    assert domains <= listed
    assert domains <= named
