"""Statements as files, over HTTP: `Accept` selects the format of GET /v1/accounts/{id}/statement."""

from __future__ import annotations

import csv
from io import BytesIO, StringIO

import pytest
import pytest_asyncio
from ofxtools.Parser import OFXTree
from pypdf import PdfReader

from tests.contract.calling import Client, Pair, eventually, new_pair
from tests.contract.wire import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

TYPES = ["text/csv", "application/x-ofx", "application/pdf"]


def content(answer: Answer) -> bytes:
    """Return the content of a response: the chunks of its body joined (RFC 9112 §7.1), or its body."""
    if answer.header("transfer-encoding") is None:
        return answer.body
    joined, rest = b"", answer.body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        joined, end, rest = joined + rest[:length], rest[length : length + 2], rest[length + 2 :]
        assert end == b"\r\n", "the body is cut"
        if not length:
            assert rest == b""
            return joined


@pytest_asyncio.fixture(loop_scope="session")
async def pair(demo: Client) -> Pair:
    """Return two accounts of one test, whose statements no other test changes."""
    return await new_pair(demo)


async def paid(pair: Pair) -> str:
    """Make a payment and wait until its line is in the payer's statement. Return the path of the statement."""
    made = await pair.client.made("/v1/payments", pair.payment(description="=pão"), also=(("prefer", "wait=10"),))
    path = f"/v1/accounts/{pair.payer}/statement"
    await eventually(
        pair.client, f"{path}?limit=100", lambda page: made["id"] in {line["payment_id"] for line in page["data"]}
    )
    return path


@pytest.mark.parametrize("media_type", TYPES)
async def test_a_statement_is_a_file(pair: Pair, media_type: str) -> None:
    """Each format has its Content-Type, a file name, every line of the account, and the same bytes a second time."""
    path = await paid(pair)
    answers = [await pair.client.get(path, change={"accept": media_type}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert (answers[0].header("content-type") or "").partition(";")[0] == media_type
    assert (answers[0].header("content-disposition") or "").startswith('attachment; filename="statement-acc_')
    first, second = map(content, answers)
    assert first == second
    lines = (await pair.client.read(f"{path}?limit=100"))["data"]
    if media_type == "text/csv":
        rows = list(csv.DictReader(StringIO(first.decode(), newline="")))
        assert [row["id"] for row in rows] == [line["id"] for line in lines]
        assert "'=pão" in {row["description"] for row in rows}
    elif media_type == "application/x-ofx":
        tree = OFXTree()
        tree.parse(BytesIO(first))
        assert [line.fitid for line in tree.convert().statements[0].transactions] == [line["id"] for line in lines]
    else:
        assert all(line["payment_id"] in "".join(map(text, PdfReader(BytesIO(first)).pages)) for line in lines)


def text(page: object) -> str:
    """Return the text of a page of a PDF."""
    extracted: str = page.extract_text()  # type: ignore[attr-defined]  # pypdf has no type for the items of `pages`
    return extracted


@pytest.mark.parametrize("media_type", TYPES)
async def test_head_and_refusals_have_no_file(demo: Client, pair: Pair, media_type: str) -> None:
    """HEAD has the headers of the file only; an unknown account and a bad period are problems in JSON."""
    path = await paid(pair)
    head = await demo.send("HEAD", path, change={"accept": media_type})
    assert (head.status, head.body) == (200, b"")
    assert (head.header("content-type") or "").startswith(media_type)
    missing = await demo.get("/v1/accounts/acc_none/statement", change={"accept": media_type})
    assert (missing.status, missing.code) == (404, "not_found")
    backwards = f"{path}?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"
    assert (await demo.get(backwards, change={"accept": media_type})).code == "malformed_request"


async def test_json_has_balances_and_totals(pair: Pair) -> None:
    """The JSON statement has the balances at both ends of the period and, on its first page, the totals."""
    path = await paid(pair)
    await paid(pair)
    whole = await pair.client.read(f"{path}?limit=100")
    first = await pair.client.read(f"{path}?limit=1")
    later = await pair.client.read(f"{path}?cursor={first['next_cursor']}&limit=1")
    assert whole["next_cursor"] is None
    totals = {"lines": len(whole["data"]), "debits": 0, "credits": 0}
    for line in whole["data"]:
        totals[f"{line['direction']}s"] += line["amount"]["value"]
    assert whole["opening_balance"] == {"value": 0, "currency": "BRL"}
    assert whole["closing_balance"] == whole["data"][-1]["balance_after"]
    assert whole["totals"] == totals
    names = ("account_id", "opening_balance", "closing_balance", "totals")
    assert [first[name] for name in names] == [whole[name] for name in names]
    assert (later["totals"], later["closing_balance"]) == (None, whole["closing_balance"])
    after = await pair.client.read(f"{path}?from=2999-01-01T00:00:00Z")
    assert (after["opening_balance"], after["closing_balance"]) == (whole["closing_balance"],) * 2
    assert after["totals"] == {"lines": 0, "debits": 0, "credits": 0}
