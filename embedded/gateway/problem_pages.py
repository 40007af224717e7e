"""The pages under /problems/: one for each error code, with cause and remedy, and an index.

The `type` of a problem in a response is the URL of its page. The pages load nothing; a Content-Security-Policy allows
only their own style.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from shared.core.failure_reasons import FAILURE_REASONS, FailureReason
from shared.core.problems import CODES, Problem, ProblemType
from shared.http.messages import HttpResponse

_FOLDER: Final = Path(__file__).with_name("pages")
_CODE: Final = re.compile(r"`([^`]+)`")
NO_EMBEDDING: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The part of a Content-Security-Policy that `default-src` does not cover."""


def problems_index() -> HttpResponse:
    """Return the page that lists every error code."""
    return _response(_index())


def problem_page(code: str) -> HttpResponse:
    """Return the page of an error code. Raises Problem `not_found` for a code that neither catalogue has.

    A code that is both a problem and a failure reason has one page with both.
    """
    if code not in CODES and code not in FAILURE_REASONS:
        raise Problem("not_found", "No error code has this name. /problems/ lists all of them.")
    return _response(_page(code))


@cache
def _index() -> bytes:
    problems = (
        f"<tr><td>{kind.status}</td><td>{_link(kind.code)}</td><td>{escape(kind.title)}</td></tr>"
        for kind in CODES.values()
    )
    failures = (
        f"<tr><td>{_link(reason.code)}</td><td>{escape(reason.title)}</td></tr>" for reason in FAILURE_REASONS.values()
    )
    return _filled("problems.html", problems="\n".join(problems), failures="\n".join(failures))


@cache
def _page(code: str) -> bytes:
    sections = []
    if code in CODES:
        sections.append(_problem_section(CODES[code]))
    if code in FAILURE_REASONS:
        sections.append(_failure_section(FAILURE_REASONS[code]))
    return _filled("problem.html", title=escape(code), sections="\n".join(sections))


def _problem_section(kind: ProblemType) -> str:
    return _section(
        kind.title, f"HTTP status `{kind.status}`, `code` is `{kind.code}` in the response.", kind.cause, kind.remedy
    )


def _failure_section(reason: FailureReason) -> str:
    return _section(
        reason.title, f"`failure.code` is `{reason.code}` in {reason.seen_in}.", reason.cause, reason.remedy
    )


def _section(title: str, place: str, cause: str, remedy: str) -> str:
    return (
        f"<h1>{escape(title)}</h1>\n<p>{_text(place)}</p>\n"
        f"<h2>Cause</h2>\n<p>{_text(cause)}</p>\n<h2>Remedy</h2>\n<p>{_text(remedy)}</p>"
    )


def _text(plain: str) -> str:
    """Return plain text as HTML. Text in backquotes is set as code."""
    return _CODE.sub(r"<code>\1</code>", escape(plain))


def _link(code: str) -> str:
    return f'<a href="/problems/{code}"><code>{code}</code></a>'


def _filled(template: str, **values: str) -> bytes:
    text = (_FOLDER / template).read_text(encoding="utf-8")
    return Template(text).substitute(values, style=_style()).encode()


@cache
def _style() -> str:
    return (_FOLDER / "style.css").read_text(encoding="utf-8")


def _response(page: bytes) -> HttpResponse:
    hashed = b64encode(sha256(_style().encode()).digest()).decode()
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{hashed}'; {NO_EMBEDDING}",
        "x-content-type-options": "nosniff",
        "cache-control": "max-age=300",
    }
    return HttpResponse(200, headers, page)
