"""A statement as CSV, OFX and PDF."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ofxtools.Parser import OFXTree
from pypdf import PdfReader

from functions.statements._csv import COLUMNS, _text, csv_of
from functions.statements._ofx import account_number, ofx_of
from functions.statements._period import Period, period_between
from shared.context.context import Context
from shared.core.settings import Settings
from shared.http.messages import Stream
from shared.records.accounts import AccountDocument
from shared.records.statement_lines import LINES, LineDocument
from tests.harness import Answer, Harness

CSV = "text/csv"
OFX = "application/x-ofx"
PDF = "application/pdf"
FORMATS = (CSV, OFX, PDF)
PERIOD = "from=2026-01-01T01:00:00Z&to=2026-01-01T03:00:00Z"
ACCOUNT_ID = "acc_019b76da000070008000000000000001"


async def story(harness: Harness, descriptions: Sequence[str] = ("for 100", "for 200", "for 300")) -> str:
    """A payer with a deposit of 1000 and one payment an hour, of 100, 200 and 300."""
    payer = (await harness.account(1000))["id"]
    payee = (await harness.account())["id"]
    for number, description in enumerate(descriptions, start=1):
        harness.clock.advance(timedelta(hours=1))
        await harness.pay(payer, payee, 100 * number, description=description)
        await harness.run_events()
    account_id: str = payer
    return account_id


async def fetch(harness: Harness, account_id: str, accept: str, query: str = "", **options: Any) -> Answer:
    """Request a statement in a format."""
    path = f"/v1/accounts/{account_id}/statement"
    return await harness.call("GET", path, query=query, headers={"accept": accept}, **options)


def rows_of(answer: Answer) -> list[dict[str, str]]:
    """Return the records of a CSV file."""
    assert answer.status == 200, answer.body
    return list(csv.DictReader(StringIO(answer.body.decode(), newline=""), strict=True))


def statement_of(answer: Answer) -> Any:
    """Return the one statement of an OFX file."""
    assert answer.status == 200, answer.body
    tree = OFXTree()
    tree.parse(BytesIO(answer.body))
    [found] = tree.convert().statements
    return found


def pages_of(answer: Answer) -> list[str]:
    """Return the text of each page of a PDF."""
    assert answer.status == 200, answer.body
    return [page.extract_text() for page in PdfReader(BytesIO(answer.body)).pages]


async def test_csv_has_a_record_for_each_line(harness: Harness) -> None:
    """The CSV file has a header, CR LF line ends, and the fields of each line of the JSON statement, with decimal
    amounts."""
    payer = await story(harness)
    lines = (await harness.call("GET", f"/v1/accounts/{payer}/statement")).json["data"]
    answer = await fetch(harness, payer, CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="statement-{payer}.csv"'
    assert answer.headers["vary"] == "Accept"
    assert answer.body.count(b"\r\n") == answer.body.count(b"\n") == 5
    rows = rows_of(answer)
    assert tuple(rows[0]) == COLUMNS
    assert [row["amount"] for row in rows] == ["10.00", "1.00", "2.00", "3.00"]
    assert [row["balance_after"] for row in rows] == ["10.00", "9.00", "7.00", "4.00"]
    same = [name for name in COLUMNS if name not in ("amount", "balance_after", "currency")]
    assert [[row[name] for name in same] for row in rows] == [[line[name] or "" for name in same] for line in lines]


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    '=HYPERLINK("http://a.test","b")',
    "\uff1dcmd|' /c calc'!A0",
    " =1+1",
    "\u00a0\u3000+1",
    "\u2003\uff1d1",
    "\ufeff=1+1",
    "\u200b\u2060@SUM(A1)",
    " \ufe66 1",
]


@pytest.mark.parametrize("text", FORMULAS)
async def test_a_description_is_no_formula(harness: Harness, text: str) -> None:
    """A description that a spreadsheet would run as a formula begins with an apostrophe in the CSV file."""
    payer = await story(harness, [text])
    assert rows_of(await fetch(harness, payer, CSV))[1]["description"] == f"'{text}"


@pytest.mark.parametrize("text", ["", " ", " a = b", "1=1", "é+1", "(=1)", "😀=1", "\u2212 1"])
def test_another_description_stays_as_it_is(text: str) -> None:
    """A description that no spreadsheet runs is written without an apostrophe."""
    assert _text(text) == text


async def test_a_description_with_separators_is_one_cell(harness: Harness) -> None:
    """Quotes, commas, semicolons and characters of every script survive in CSV and OFX."""
    text = 'a "b", c; <d> & é 日本 😀'
    payer = await story(harness, [text])
    assert rows_of(await fetch(harness, payer, CSV))[1]["description"] == text
    assert statement_of(await fetch(harness, payer, OFX)).transactions[1].memo == text


async def test_ofx_has_a_transaction_for_each_line(harness: Harness) -> None:
    """The OFX file is read by ofxtools: account, currency, period, signed amounts and the closing balance."""
    payer = await story(harness)
    lines = (await harness.call("GET", f"/v1/accounts/{payer}/statement", query=PERIOD)).json["data"]
    answer = await fetch(harness, payer, OFX, PERIOD)
    assert answer.headers["content-type"] == OFX
    found = statement_of(answer)
    assert (found.account.acctid, found.curdef) == (account_number(payer), "BRL")
    assert len(found.account.acctid) == 22
    assert [trn.trnamt for trn in found.transactions] == [Decimal("-1.00"), Decimal("-2.00")]
    assert [trn.trntype for trn in found.transactions] == ["DEBIT", "DEBIT"]
    assert [trn.fitid for trn in found.transactions] == [line["id"] for line in lines]
    assert [trn.memo for trn in found.transactions] == ["for 100", "for 200"]
    assert found.transactions.dtstart.isoformat() == "2026-01-01T01:00:00+00:00"
    assert found.transactions.dtend.isoformat() == "2026-01-01T03:00:00+00:00"
    assert (found.balance.balamt, found.balance.dtasof) == (Decimal("7.00"), found.transactions.dtend)


async def test_pdf_has_balances_and_totals_in_portuguese(harness: Harness) -> None:
    """The PDF shows opening and closing balance, each line, and the totals, as they are written in Brazil."""
    payer = await story(harness)
    answer = await fetch(harness, payer, PDF, PERIOD)
    assert answer.headers["content-type"] == PDF
    [page] = pages_of(answer)
    for text in (
        "Extrato de conta",
        payer,
        "31/12/2025 22:00 a 01/01/2026 00:00 (horário de Brasília)",
        "31/12/2025 22:00",
        "for 200",
        "Totais da página",
        "Página 1 de 1",
    ):
        assert text in page
    assert [word for word in page.split() if "," in word].count("3,00") == 2, "the debits of the page and the period"
    assert "10,00" in page
    assert "7,00" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 😀", "café [U+1F600]"),
        ("cafe\u0301 €", "café €"),
        ("日本", "[U+65E5][U+672C]"),
        ("a\u200db\ufe0f", "ab"),
        ("a?", "a?"),
    ],
)
async def test_a_pdf_shows_every_character(harness: Harness, text: str, shown: str) -> None:
    """A character that the font does not have is shown by its number in Unicode, and the same bytes come twice."""
    payer = await story(harness, [text])
    answer = await fetch(harness, payer, PDF)
    assert shown in "".join(page.extract_text() for page in PdfReader(BytesIO(answer.body)).pages)
    assert (await fetch(harness, payer, PDF)).body == answer.body


async def test_a_long_pdf_has_page_totals(harness: Harness) -> None:
    """Each page of a PDF has its own totals and carries the balance to the next; the last one has the totals of the
    period."""
    payer = await story(harness, [f"order {number}" for number in range(1, 3)])
    await insert_lines(harness, payer, first=4, count=57, balance=700)
    pages = pages_of(await fetch(harness, payer, PDF))
    assert len(pages) == 3
    assert all("Totais da página" in page for page in pages)
    assert ["Saldo transportado" in page for page in pages] == [False, True, True]
    assert ["Totais do período" in page for page in pages] == [False, False, True]
    assert "Página 3 de 3" in pages[2]
    assert "0,28" in pages[1], "28 lines of one cent"


async def insert_lines(harness: Harness, account_id: str, *, first: int, count: int, balance: int) -> None:
    """Store lines of one cent each, as the projection of the ledger's facts does."""
    from shared.ports.documents import Commit

    for number in range(first, first + count):
        line = line_of(number, account_id, balance + number - first + 1, "2026-01-02T00:00:00.000000Z")
        await harness.documents.commit(Commit("acme", inserts=[(LINES, dict(line))]))


def line_of(number: int, account_id: str, balance: int, at: str) -> LineDocument:
    """Return a credit of one cent."""
    return {
        "id": f"{account_id}.{at}.{number:020d}",
        "tenant_id": "acme",
        "version": 1,
        "line_id": f"lin_{number:032x}",
        "account_id": account_id,
        "sequence": number,
        "recorded_at": at,
        "direction": "credit",
        "amount": 1,
        "balance_after": balance,
        "currency": "BRL",
        "transfer_id": f"ltr_{number:032x}",
        "payment_id": None,
        "counterparty_account_id": None,
        "description": None,
    }


@pytest.mark.parametrize("accept", FORMATS)
async def test_the_same_lines_make_the_same_bytes(harness: Harness, accept: str) -> None:
    """A file that is requested again a day later is the same to the byte, with and without a period."""
    payer = await story(harness)
    for query in ("", PERIOD):
        first = await fetch(harness, payer, accept, query)
        harness.clock.advance(timedelta(days=1))
        assert (await fetch(harness, payer, accept, query)).body == first.body


@pytest.mark.parametrize("accept", FORMATS)
async def test_an_account_without_movements_has_a_file(harness: Harness, accept: str) -> None:
    """A period without lines gives a valid file, whose balance is that at the start of the period."""
    payer = await story(harness)
    answer = await fetch(harness, payer, accept, "from=2027-01-01T00:00:00Z")
    if accept == CSV:
        assert rows_of(answer) == []
    elif accept == OFX:
        found = statement_of(answer)
        assert (len(found.transactions), found.balance.balamt) == (0, Decimal("4.00"))
    else:
        [page] = pages_of(answer)
        assert page.count("4,00") >= 3
    empty = (await harness.account())["id"]
    assert (await fetch(harness, empty, accept)).status == 200


@pytest.mark.parametrize("accept", FORMATS)
async def test_a_file_of_another_tenant_does_not_exist(harness: Harness, accept: str) -> None:
    """The file of another tenant's account, and of an unknown one, is refused with `not_found`."""
    payer = await story(harness)
    await harness.tenant("other")
    theirs = await fetch(harness, payer, accept, tenant="other")
    unknown = await fetch(harness, "acc_none", accept)
    assert (theirs.code, unknown.code) == ("not_found", "not_found")


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("query", ["limit=5", "cursor=abc"])
async def test_a_file_has_no_pages(harness: Harness, accept: str, query: str) -> None:
    """`limit` and `cursor` select a page of JSON; with a file format they are refused."""
    payer = await story(harness)
    answer = await fetch(harness, payer, accept, query)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert answer.json["errors"][0]["parameter"] == query.partition("=")[0]


async def test_a_format_that_does_not_exist_is_refused(harness: Harness) -> None:
    """Accept without any of the formats is answered with 400, which lists them; */* is JSON."""
    payer = await story(harness)
    answer = await fetch(harness, payer, "image/png")
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert "text/csv" in answer.json["detail"]
    anything = await fetch(harness, payer, "*/*")
    assert (anything.headers["content-type"], anything.headers["vary"]) == ("application/json", "Accept")


async def test_a_pdf_has_a_bound() -> None:
    """A period with more lines than a PDF may have is refused with the number of lines and the bound; CSV is not."""
    bounded = Harness.make(settings=Settings(statement_pdf_lines=3))
    await bounded.tenant()
    payer = await story(bounded)
    answer = await fetch(bounded, payer, PDF)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert "4 lines" in answer.json["detail"]
    assert (await fetch(bounded, payer, PDF, PERIOD)).status == 200
    assert len(rows_of(await fetch(bounded, payer, CSV))) == 4


@pytest.mark.parametrize("accept", FORMATS)
async def test_a_file_without_a_line_is_not_given(harness: Harness, accept: str) -> None:
    """While a line is missing, because the event of its transfer was not applied yet, a PDF is refused with 503 and a
    streamed file is cut."""
    payer = await story(harness)
    await insert_lines(harness, payer, first=6, count=1, balance=400)
    if accept == PDF:
        answer = await fetch(harness, payer, accept)
        assert (answer.status, answer.code) == (503, "dependency_unavailable")
        assert "entry 5" in answer.json["detail"]
    else:
        with pytest.raises(Exception, match="entry 5"):
            await fetch(harness, payer, accept)
    page = (await harness.call("GET", f"/v1/accounts/{payer}/statement")).json
    assert (page["totals"], len(page["data"])) == (None, 5)


# Streams


class _Lines:
    """A context whose store makes an account's lines when they are read. It counts those that are alive."""

    alive = 0

    def __init__(self, count: int) -> None:
        self._count = count
        self.most_alive = 0

    async def find(self, collection: object, query: Any) -> list[LineDocument]:
        """Return a page of lines."""
        del collection
        start = int(query.after.rpartition(".")[2]) if query.after else 0
        page = [
            cast("LineDocument", _Line(number))
            for number in range(start + 1, min(start + query.limit, self._count) + 1)
        ]
        self.most_alive = max(self.most_alive, _Lines.alive)
        return page


class _Line(dict[str, Any]):
    """A line that counts itself while it exists."""

    def __init__(self, number: int) -> None:
        super().__init__(line_of(number, ACCOUNT_ID, number, "2026-01-02T00:00:00.000000Z"))
        _Lines.alive += 1

    def __del__(self) -> None:
        _Lines.alive -= 1


def memory() -> int:
    """Return the memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


Format = Callable[[Context, Period], Stream]


@pytest.mark.parametrize(("make", "count"), [(csv_of, 1_000_000), (ofx_of, 200_000)], ids=["csv", "ofx"])
async def test_a_long_file_needs_little_memory(make: Format, count: int) -> None:
    """A file of a million lines is made in pieces, with at most a few pages of lines and 32 MiB in memory."""
    store = _Lines(count)
    ends = (cast("LineDocument", _Line(number)) for number in (1, count))
    account = cast(
        "AccountDocument", {"id": ACCOUNT_ID, "currency": "BRL", "created_at": "2026-01-01T00:00:00.000000Z"}
    )
    period = period_between(account, None, None, *ends)
    pieces = lines = largest = before = 0
    async for piece in make(cast("Context", store), period):
        pieces += 1
        lines += piece.count(b"lin_")
        largest = max(largest, len(piece))
        if pieces == 100:
            before = memory()
    assert lines == count
    assert largest < 256 * 1024
    assert store.most_alive <= 1_000
    assert memory() - before < 32 * 1024 * 1024


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_any_description_stays_one_cell(text: str) -> None:
    """Whatever a description contains, its record has one cell for it that is the text, or the text behind an
    apostrophe."""
    from functions.statements._csv import _cells, _records

    line = {**line_of(1, ACCOUNT_ID, 1, "2026-01-02T00:00:00.000000Z"), "description": text}
    [row] = csv.reader(StringIO(_records([_cells(cast("LineDocument", line))]).decode(), newline=""), strict=True)
    assert len(row) == len(COLUMNS)
    assert row[-1] in (text, f"'{text}")
    assert not row[-1].startswith(("=", "+", "-", "@"))
