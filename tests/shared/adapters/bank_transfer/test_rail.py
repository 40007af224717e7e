"""The adapter of the partner bank: its answers, unknown outcomes, callbacks, references and receivers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.bank_transfer.rail import MAX_AMOUNT, HttpBankTransfers
from shared.adapters.bank_transfer.reports import REFERENCE_PATTERN
from shared.adapters.providers.breaker import FAILURES
from shared.adapters.providers.callback_signature import sign
from shared.core.problems import Problem
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused
from shared.ports.rail_payments import InvalidReceiver, RailOrder

REFERENCE = "ABCDEFGHIJ2345672345"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = {
    "bank": "60746948",
    "branch": "1",
    "number": "123456789-X",
    "type": "savings",
    "holder_name": "Padaria do Porto",
    "holder_document_type": "cnpj",
    "holder_document": "12ABC34501DE35",
}
ORDER = RailOrder(REFERENCE, 1050, ACCOUNT, "d" * 200, "https://lastro.example.test/callbacks")
TRANSFER: dict[str, Any] = {
    "reference": REFERENCE,
    "status": "ACCEPTED",
    "amount": {"value": 1050, "currency": "BRL"},
    "creditor": ACCOUNT,
    "updated_at": "2026-01-01T00:00:00Z",
}


def rail_answering(*answers: httpx.Response | Exception) -> tuple[HttpBankTransfers, list[httpx.Request]]:
    """Return an adapter to a bank that gives these answers one after the other, and the list of its requests."""
    asked: list[httpx.Request] = []
    left = list(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return HttpBankTransfers("https://bank.example.test/v2", http), asked


def shown(**changes: Any) -> httpx.Response:
    return httpx.Response(200, json={**TRANSFER, **changes})


async def test_an_order_is_sent_with_the_account_and_a_short_description() -> None:
    """The order has the amount in centavos, the account, the callback, and at most 140 characters of description."""
    rail, requests = rail_answering(shown())
    await rail.send(ORDER)
    (asked,) = requests
    assert (asked.method, asked.url.path) == ("PUT", f"/v2/transfers/{REFERENCE}")
    body = orjson.loads(asked.content)
    assert body.pop("description") == "d" * 139 + "…"
    assert body == {
        "amount": {"value": 1050, "currency": "BRL"},
        "creditor": ACCOUNT,
        "callback_url": "https://lastro.example.test/callbacks",
    }
    await rail.aclose()


@pytest.mark.parametrize("lost", [httpx.ReadTimeout("slow"), httpx.ReadError("cut"), httpx.Response(503)])
async def test_an_unknown_outcome_stays_unknown_until_the_bank_knows_the_transfer(lost: httpx.Response) -> None:
    """Without an answer the transfer is read; if the bank does not know it or does not answer, the outcome is unknown,
    and the next attempt finds it."""
    down = httpx.ConnectError("down")
    rail, asked = rail_answering(lost, httpx.Response(404), lost, down, lost, shown(status="SETTLED"))
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await rail.send(ORDER)
    assert (await rail.send(ORDER)).status == "settled"
    assert [request.method for request in asked] == ["PUT", "GET"] * 3
    await rail.aclose()


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("down"), *(httpx.Response(status) for status in (401, 403, 404, 429))]
)
async def test_an_order_that_had_no_effect_is_unavailable(answer: httpx.Response | Exception) -> None:
    """An order that did not arrive or was denied raises Unavailable and not OutcomeUnknown, and nothing is read."""
    rail, asked = rail_answering(answer)
    with pytest.raises(Unavailable) as raised:
        await rail.send(ORDER)
    assert not isinstance(raised.value, OutcomeUnknown)
    assert len(asked) == 1
    await rail.aclose()


async def test_a_bank_that_fails_is_not_called_for_a_while() -> None:
    """After several failures in a row the bank is not called, and the error says so."""
    rail, asked = rail_answering(*[httpx.Response(500)] * FAILURES)
    for _ in range(FAILURES):
        with pytest.raises(Unavailable):
            await rail.state(REFERENCE)
    with pytest.raises(Unavailable, match="partner bank is not called now"):
        await rail.state(REFERENCE)
    assert len(asked) == FAILURES
    await rail.aclose()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (httpx.Response(422, json={"code": "invalid_account", "detail": "Ana Souza, 12345-6"}), "invalid_account"),
        (httpx.Response(400, json={"code": "a b"}), "http_400"),
        (httpx.Response(422, json=[]), "http_422"),
        (httpx.Response(400, text="no"), "http_400"),
    ],
)
async def test_a_refusal_has_the_banks_code_and_not_its_text(answer: httpx.Response, code: str) -> None:
    """A refusal has the bank's code, or else the status; the bank's text is left out, because it may name a person."""
    rail, _ = rail_answering(answer, answer, answer)
    with pytest.raises(RailRefused) as refused:
        await rail.send(ORDER)
    assert (refused.value.code, str(refused.value)) == (code, "The partner bank refused the transfer.")
    for question in (rail.state(REFERENCE), rail.changed(NOW, NOW, 0)):
        with pytest.raises(Unavailable, match=str(answer.status_code)):
            await question
    await rail.aclose()


async def test_a_refused_repetition_is_no_refusal() -> None:
    """When a bank refuses a known reference, the transfer that it has is returned, whatever its amount is; when it does
    not show it, the order is refused."""
    used = httpx.Response(409, json={"code": "used"})
    other = shown(amount={"value": 1, "currency": "BRL"})
    rail, _ = rail_answering(used, shown(status="SETTLED"), used, other, used, httpx.Response(404))
    assert (await rail.send(ORDER)).status == "settled"
    assert (await rail.send(ORDER)).amount == 1
    with pytest.raises(RailRefused) as refused:
        await rail.send(ORDER)
    assert refused.value.code == "used"
    await rail.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="{"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        shown(status="LOST"),
        shown(amount={"value": 10.5, "currency": "BRL"}),
        shown(amount={"value": 1050, "currency": "USD"}),
        shown(reference="Z" * 20),
    ],
)
async def test_an_unreadable_answer_is_no_outcome(answer: httpx.Response) -> None:
    """An answer that is not the transfer of the order raises Unavailable: it says nothing about the money."""
    rail, _ = rail_answering(answer)
    with pytest.raises(Unavailable, match="the partner bank"):
        await rail.send(ORDER)
    await rail.aclose()


async def test_a_page_says_whether_it_is_the_last() -> None:
    """A page without `has_more` raises Unavailable; a time that cannot be read is None."""
    rail, asked = rail_answering(
        httpx.Response(200, json={"transfers": []}),
        httpx.Response(200, json={"transfers": [{**TRANSFER, "updated_at": "yesterday"}], "has_more": False}),
    )
    with pytest.raises(Unavailable, match="last"):
        await rail.changed(NOW, NOW, 3)
    (report,), more = await rail.changed(NOW, NOW, 0)
    assert (report.at, more) == (None, False)
    assert dict(asked[0].url.params)["page"] == "3"
    await rail.aclose()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_request"),
        (b"{}", "validation_failed"),
        (b'{"transfers": [{"reference": "x"}]}', "validation_failed"),
    ],
)
def test_a_callback_that_is_not_the_banks_is_refused(body: bytes, code: str) -> None:
    """A callback must be signed with the secret; a signed one that is not JSON or has other fields is refused."""
    rail = HttpBankTransfers("")
    with pytest.raises(Problem) as unsigned:
        rail.read_reports({}, body, secret=b"s", now=NOW, window_seconds=300)
    assert unsigned.value.code == "missing_signature"
    with pytest.raises(Problem) as forged:
        rail.read_reports(sign(b"other", body, NOW), body, secret=b"s", now=NOW, window_seconds=300)
    assert forged.value.code == "invalid_signature"
    with pytest.raises(Problem) as refused:
        rail.read_reports(sign(b"s", body, NOW), body, secret=b"s", now=NOW, window_seconds=300)
    assert refused.value.code == code


def test_a_callback_is_kept_masked() -> None:
    """A report keeps every field of the bank, those that are unknown here too, with the creditor masked."""
    body = orjson.dumps({"transfers": [{**TRANSFER, "status": "RETURNED", "reason": "AC06", "channel": "STR"}]})
    reports = HttpBankTransfers("").read_reports(sign(b"s", body, NOW), body, secret=b"s", now=NOW, window_seconds=300)
    assert reports is not None
    (report,) = reports
    assert (report.status, report.code, report.report["channel"]) == ("returned", "AC06", "STR")
    assert report.report["creditor"]["holder_name"] == "***orto"
    assert "12ABC34501DE35" not in str(report.report)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_reference_is_always_the_same_and_fits_into_a_settlement_file(tenant: str, payment: str, other: str) -> None:
    """A reference has twenty capital letters and digits, depends on tenant and payment alone, and differs between
    payments."""
    rail = HttpBankTransfers("")
    made = rail.reference(tenant, payment, NOW)
    assert re.fullmatch(REFERENCE_PATTERN, made)
    assert made == rail.reference(tenant, payment, datetime(2027, 1, 1, tzinfo=UTC))
    assert (made == rail.reference(tenant, other, NOW)) == (payment == other)


def test_what_is_shown_of_an_account_has_no_personal_data() -> None:
    """The bank and the types are shown; branch, number, name and document are masked."""
    assert HttpBankTransfers("").shown_receiver(ACCOUNT, 1) == {
        "bank": "60746948",
        "branch": "***",
        "number": "***89-X",
        "type": "savings",
        "holder_name": "***orto",
        "holder_document_type": "cnpj",
        "holder_document": "***DE35",
    }


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("bank", "12", "three digits"),
        ("bank", "6074694a", "ISPB"),
        ("branch", "123456", "one to five digits"),
        ("branch", "", "one to five digits"),
        ("number", "123456", "check digit"),
        ("type", "current", "checking, savings or payment"),
        ("holder_name", " Ana", "no space"),
        ("holder_name", "a" * 121, "120"),
        ("holder_document_type", "rg", "cpf or a cnpj"),
        ("holder_document", "12ABC34501DE36", "check digits"),
        ("holder_document", "12.ABC.345/01DE-35", "without punctuation"),
    ],
)
def test_a_wrong_field_of_an_account_is_named(field: str, value: str, detail: str) -> None:
    """An account with a wrong field is refused, with the field and the rule that it breaks."""
    with pytest.raises(InvalidReceiver, match=detail) as refused:
        HttpBankTransfers("").shown_receiver({**ACCOUNT, field: value}, 1)
    assert refused.value.field == field


def test_an_amount_beyond_the_rails_is_refused() -> None:
    """A bank transfer moves at most what fits into a settlement file."""
    rail = HttpBankTransfers("")
    rail.shown_receiver(ACCOUNT, MAX_AMOUNT)
    with pytest.raises(InvalidReceiver, match="999999999999999"):
        rail.shown_receiver(ACCOUNT, MAX_AMOUNT + 1)
