"""The report of a day, as JSON and as a page."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from events.sweeps import Tick
from shared.ports.documents import PLATFORM
from shared.records.audits import AUDITS
from tests.functions.operations.test_audit import day as day_passes
from tests.harness import Answer, Harness

DAY = "2026-01-01"
PERIOD = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


async def report(harness: Harness, query: str = f"day={DAY}", **headers: str) -> Answer:
    """Retrieve a report."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await harness.call("GET", "/v1/operations/report", query=query, headers=sent)


async def whole_day(harness: Harness) -> None:
    """Let a day pass with movements; audit, seal and reconcile it."""
    await day_passes(harness)
    harness.clock.advance(timedelta(hours=1))
    for operation in ("operations/audit_day", "operations/seal_days"):
        delivery = await harness.deliver(operation, harness.envelope(Tick(schedule="x"), tenant=PLATFORM))
        assert delivery.status == 204
    assert (await harness.call("POST", "/v1/reconciliations", PERIOD)).status == 201


async def test_the_report_has_what_happened_to_a_day(harness: Harness) -> None:
    """Audit, seal, the newest reconciliation and clearing balance of each provider, and dead letters; yesterday's
    without a day."""
    await whole_day(harness)
    found = (await report(harness)).json
    assert (found["day"], found["audit"]["passed"], found["audit"]["transfers"]) == (DAY, True, 3)
    assert (found["seal"]["entries"], found["seal"]["transfers"]) == (6, 3)
    pix, bank, card = found["reconciliations"]
    assert (pix["provider"], pix["matched"], pix["unmatched"], pix["automatic_share"]) == ("pix", 1, 0, 1.0)
    assert pix["clearing_balance"] == {"value": -1050, "currency": "BRL"}
    assert (bank["reconciliation_id"], card["clearing_balance"]["value"]) == (None, 0)
    assert found["dead_letters"] == {"parked": 0, "oldest_parked_at": None}
    assert (await report(harness, "")).json == found


async def test_a_day_without_audit_and_seal_says_so(harness: Harness) -> None:
    """A day that was not audited and not sealed has neither, and another tenant's day is not shown."""
    await harness.tenant("other")
    await whole_day(harness)
    assert [(await report(harness, "day=2026-01-09")).json[part] for part in ("audit", "seal")] == [None, None]
    theirs = await harness.call("GET", "/v1/operations/report", query=f"day={DAY}", tenant="other")
    assert (theirs.json["audit"]["transfers"], theirs.json["reconciliations"][0]["matched"]) == (0, 0)


@pytest.mark.parametrize("query", ["day=yesterday", "day=2026-02-30", "day=2026-1-1", "date=2026-01-01"])
async def test_an_invalid_day_is_refused(harness: Harness, query: str) -> None:
    """A text that is no day, and another parameter, are refused with 400."""
    answer = await report(harness, query)
    assert (answer.status, answer.code) == (400, "malformed_request")


async def test_a_repeated_audit_replaces_the_outcome(harness: Harness) -> None:
    """The report shows the last audit of the day."""
    await whole_day(harness)
    await harness.alter(AUDITS, DAY, passed=False, difference_count=3, differences=["x"])
    assert (await report(harness)).json["audit"]["difference_count"] == 3
    envelope = harness.envelope(Tick(schedule="audit_day"), tenant=PLATFORM)
    await harness.deliver("operations/audit_day", envelope)
    assert (await report(harness)).json["audit"]["difference_count"] == 0


class Elements(HTMLParser):
    """Collects the elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element, and push it unless it is empty by definition."""
        self.found.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that elements end in their order."""
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("language", "locale", "words"),
    [
        ("en-US,en;q=0.9", "en", ("Report of January 1, 2026", "No differences", "-R$10.50", "100.0%")),
        ("pt-BR", "pt-BR", ("Relatório de 1 de janeiro de 2026", "Sem diferenças", "-R$\xa010,50", "100,0%")),
        ("de;q=0.5, en;q=0.1", "en", ("Report of",)),
        ("de, x;q=y", "pt-BR", ("Relatório de",)),
        ("", "pt-BR", ("Relatório de",)),
    ],
)
async def test_the_page_is_in_the_language_of_its_reader(
    harness: Harness, language: str, locale: str, words: tuple[str, ...]
) -> None:
    """`text/html` is a page in pt-BR or en, with amounts, dates and shares in the form of the language."""
    await whole_day(harness)
    answer = await report(harness, accept="text/html", accept_language=language)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    text = answer.body.decode()
    elements = Elements(text)
    assert elements.open == []
    assert next(attributes for tag, attributes in elements.found if tag == "html")["lang"] == locale
    for each in words:
        assert each in text


async def test_the_page_can_be_read_by_a_screen_reader(harness: Harness) -> None:
    """The page has one first heading, a label for each section, scopes for the headings of its table, and loads
    nothing."""
    await whole_day(harness)
    text = (await report(harness, accept="text/html")).body.decode()
    found = Elements(text).found
    tags = [tag for tag, _ in found]
    assert (tags.count("h1"), tags.count("main"), tags.count("header")) == (1, 1, 1)
    ids = {attributes["id"] for _, attributes in found if "id" in attributes}
    assert all(attributes["aria-labelledby"] in ids for tag, attributes in found if tag == "section")
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in found if tag == "th")
    assert not re.search(r"<(script|img|link|iframe)|https?://", text)


async def test_a_difference_is_shown_as_text(harness: Harness) -> None:
    """What an audit found is escaped, so that it is never part of the page's structure."""
    await whole_day(harness)
    differences: Any = ["the <b>transfer</b> & more"]
    await harness.alter(AUDITS, DAY, passed=False, difference_count=1, differences=differences)
    text = (await report(harness, accept="text/html")).body.decode()
    assert "the &lt;b&gt;transfer&lt;/b&gt; &amp; more" in text
    assert "Há diferenças" in text
