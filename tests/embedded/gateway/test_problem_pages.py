"""The pages under /problems/."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.gateway.problem_pages import problem_page, problems_index
from shared.core.failure_reasons import FAILURE_REASONS
from shared.core.problems import CODES, Problem

ROOT = Path(__file__).parents[3]
EVERY_CODE = sorted({*CODES, *FAILURE_REASONS})


def _shown(body: bytes) -> str:
    """Return the text of the page as a reader sees it."""
    return html.unescape(re.sub(r"</?code>", "", body.decode()))


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_problem_has_a_page(code: str) -> None:
    """The page of a problem shows its code, status, title, cause and remedy."""
    shown, kind = _shown(problem_page(code).body), CODES[code]
    for part in (code, kind.title, kind.cause, kind.remedy, str(kind.status)):
        assert part.replace("`", "") in shown


@pytest.mark.parametrize("code", sorted(FAILURE_REASONS))
def test_every_failure_reason_has_a_page(code: str) -> None:
    """The page of a failure reason shows its code, title, cause and remedy, and the resources that have it."""
    shown, reason = _shown(problem_page(code).body), FAILURE_REASONS[code]
    for part in (f"failure.code is {code}", reason.title, reason.cause, reason.remedy, reason.seen_in):
        assert part.replace("`", "") in shown


def test_the_index_links_to_every_page() -> None:
    """The index lists each code with a link, and no link leads to a code that has no page."""
    linked = set(re.findall(r'href="/problems/([a-z_]+)"', problems_index().body.decode()))
    assert linked == set(EVERY_CODE)


@pytest.mark.parametrize("code", EVERY_CODE)
def test_a_page_loads_nothing(code: str) -> None:
    """A page has no script and no reference to a file, and its Content-Security-Policy allows none."""
    response = problem_page(code)
    assert not re.search(rb"<script|<link|<img|src=|@import|url\(", response.body)
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_a_code_without_a_page_is_not_found() -> None:
    """An unknown code is answered with 404, and the page does not repeat it."""
    with pytest.raises(Problem, match="not_found") as caught:
        problem_page("<script>")
    assert "<script>" not in caught.value.detail


def test_responses_do_not_share_their_headers() -> None:
    """Headers that the gateway adds to one response are not in the next."""
    problem_page("not_found").headers["x-request-id"] = "req_1"
    assert "x-request-id" not in problem_page("not_found").headers


def _emitted() -> Iterator[tuple[str, str]]:
    """Return every failure code of the functions, with the file: `Failure(code="…")`, `failure_document("…", …)`, and
    the `code: detail` that the ledger's refusals begin with."""
    for path in sorted((ROOT / "functions").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts: list[str] = []
            if called == "Failure":
                texts = [_literal(keyword.value) for keyword in node.keywords if keyword.arg == "code"]
            elif called == "failure_document":
                texts = [_literal(node.args[0])]
            elif called == "_refuse":
                texts = [_literal(argument).partition(": ")[0] for argument in node.args]
            for text in texts:
                if text:
                    yield text, path.relative_to(ROOT).as_posix()


def _literal(node: ast.expr) -> str:
    """Return the constant text with which an expression begins."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_failure_code_of_a_function_is_in_the_catalogue() -> None:
    """Every failure code of a function has a page."""
    emitted = dict(_emitted())
    assert {"insufficient_funds", "deadline_passed", "provider_refused", "hold_timed_out"} <= emitted.keys()
    assert {code: place for code, place in emitted.items() if code not in FAILURE_REASONS} == {}
