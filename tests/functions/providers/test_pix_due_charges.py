"""PIX charges with a due date: what is payable on the day of the payment pays the charge, and nothing else does."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import orjson
import pytest

from events.charges import ChargeCreated, ChargeExpired, ChargeRevised, PaymentUnmatched
from shared.core.business_days import day_begins
from shared.core.clock import format_time
from shared.ports.documents import Query, Unavailable
from shared.ports.rail import Debtor
from shared.records.pix_charges import PIX_CHARGES
from tests.functions.providers.charges import CHARGES_PATH, asked, charge, reported, shown, suspended, sweep
from tests.functions.providers.rail import OTHER_END_TO_END, RecordingRail, report, with_rail
from tests.harness import Answer, Harness

DEBTOR = {"name": "Ana Lima", "document": {"type": "cpf", "number": "111.444.777-35"}}
SHOWN_DEBTOR = {"name": "Ana Lima", "document": {"type": "cpf", "number": "11144477735"}}
DUE_DATE = "2026-01-09"
"""A Friday. The tests begin on 31 December 2025 in São Paulo."""


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


def due(**fields: Any) -> dict[str, Any]:
    """Return the due date of a new charge."""
    return {"date": DUE_DATE, "debtor": DEBTOR, **fields}


FULL = due(
    valid_days=10,
    fine={"basis_points": 200},
    interest={"basis_points": 100, "per": "month"},
    rebate={"amount": brl(100)},
    discounts=[{"amount": brl(500), "until": "2026-01-05"}, {"amount": brl(300), "until": DUE_DATE}],
)
"""Of R$ 100.00: 94.00 until 5 January, 96.00 until the 9th, then 101.03 and 0.03 or 0.04 more each day."""


@pytest.fixture
async def rail(harness: Harness) -> RecordingRail:
    """The rail of the harness."""
    return await with_rail(harness)


async def revised(harness: Harness, txid: str, **fields: Any) -> Answer:
    return await harness.call("PATCH", f"{CHARGES_PATH}/{txid}", fields)


def noon(day: str) -> str:
    """Return noon in UTC of a day, which is the morning in São Paulo."""
    return f"{day}T12:00:00.000000Z"


async def test_a_charge_with_a_due_date_is_created(harness: Harness, rail: RecordingRail) -> None:
    """The provider gets the terms and the debtor; the response has them, what is payable today, and the last day."""
    account = await harness.account()
    made = await charge(harness, account["id"], 10_000, due=FULL)
    (order,) = rail.orders
    assert order.due is not None
    assert order.due.debtor == Debtor("Ana Lima", "cpf", "11144477735")
    assert order.due.terms["fine"] == {"kind": "percent", "value": 200}
    assert made["due"] == {
        "date": DUE_DATE,
        "postponed_date": DUE_DATE,
        "valid_days": 10,
        "last_date": "2026-01-19",
        "debtor": SHOWN_DEBTOR,
        "fine": {"amount": None, "basis_points": 200},
        "interest": {"amount": None, "basis_points": 100, "per": "month", "days": "calendar"},
        "rebate": {"amount": brl(100), "basis_points": None},
        "discounts": [
            {"amount": brl(500), "basis_points": None, "until": "2026-01-05"},
            {"amount": brl(300), "basis_points": None, "until": DUE_DATE},
        ],
        "early_discount": None,
        "amount_payable": brl(9_400),
    }
    assert (made["amount"], made["expires_in"]) == (brl(10_000), None)
    assert made["expires_at"] == format_time(day_begins(date(2026, 1, 20)))
    assert await shown(harness, made["txid"]) == made
    (created,) = harness.events_of(ChargeCreated)
    assert (created.amount.value, created.expires_at) == (10_000, made["expires_at"])


async def test_an_immediate_charge_has_no_due_date(harness: Harness, rail: RecordingRail) -> None:
    """A charge without a due date is the one that it was: `due` is null, and the provider gets an immediate charge."""
    made = await charge(harness, (await harness.account())["id"])
    assert (made["due"], rail.orders[0].due, rail.orders[0].expires_in) == (None, None, 86_400)


@pytest.mark.parametrize(
    ("paid_at", "amount"),
    [
        (noon("2026-01-02"), 9_400),
        ("2026-01-06T02:59:59.000000Z", 9_400),  # still 5 January in São Paulo
        ("2026-01-06T03:00:00.000000Z", 9_600),
        (noon(DUE_DATE), 9_600),
        (noon("2026-01-10"), 10_103),
        (noon("2026-01-12"), 10_110),
        (noon("2026-01-19"), 10_133),
    ],
)
async def test_the_amount_of_the_day_pays_the_charge(
    harness: Harness, rail: RecordingRail, paid_at: str, amount: int
) -> None:
    """A payment of what is payable on its day in São Paulo is credited, however late it is reported; one centavo more
    or less is suspended and leaves the charge active."""
    account = await harness.account()
    made = await charge(harness, account["id"], 10_000, due=FULL)
    reference = rail.orders[0].reference
    harness.clock.advance(timedelta(days=30))
    await reported(harness, report(reference, amount + 1, OTHER_END_TO_END, horario=paid_at))
    assert [fact.reason for fact in harness.events_of(PaymentUnmatched)] == ["wrong_amount"]
    await reported(harness, report(reference, amount, horario=paid_at))
    paid = await shown(harness, made["txid"])
    assert (paid["status"], paid["amount"], paid["due"]["amount_payable"]) == ("paid", brl(10_000), brl(amount))
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (amount + 1, amount)
    assert not harness.undelivered


async def test_the_payable_amount_changes_with_the_day(harness: Harness, rail: RecordingRail) -> None:
    """A charge shows what is payable today in São Paulo, and nothing after its last day, when it has expired."""
    del rail
    made = await charge(harness, (await harness.account())["id"], 10_000, due=FULL)
    found = []
    for day in (date(2026, 1, 6), date(2026, 1, 10), date(2026, 1, 19), date(2026, 1, 20)):
        harness.clock.advance(day_begins(day) - harness.clock.now())
        now = await shown(harness, made["txid"])
        found.append((now["status"], (now["due"]["amount_payable"] or {}).get("value")))
    assert found == [("active", 9_600), ("active", 10_103), ("active", 10_133), ("expired", None)]


async def test_an_overdue_charge_expires_after_its_last_day(harness: Harness, rail: RecordingRail) -> None:
    """A charge expires at the end of its last day, not on its due date; the sweep asks the provider for it first."""
    made = await charge(harness, (await harness.account())["id"], 10_000, due=due(date="2026-01-10", valid_days=0))
    assert (made["due"]["postponed_date"], made["due"]["last_date"]) == ("2026-01-12", "2026-01-12")
    harness.clock.advance(day_begins(date(2026, 1, 12)) - harness.clock.now())
    await sweep(harness)
    assert (await shown(harness, made["txid"]))["status"] == "active"
    harness.clock.advance(timedelta(days=1, seconds=1))
    rail.unreported.append(report(rail.orders[0].reference, 10_000, horario=noon("2026-01-12")))
    await sweep(harness)
    assert harness.events_of(ChargeExpired) == []
    assert (await shown(harness, made["txid"]))["status"] == "paid"


async def test_the_debtor_is_stored_sealed(harness: Harness, rail: RecordingRail) -> None:
    """Neither the documents nor the events have the debtor's name or number in plain text."""
    del rail
    await charge(harness, (await harness.account())["id"], 10_000, due=FULL)
    (stored,) = await harness.documents.find(PIX_CHARGES, "acme", Query())
    assert stored["debtor"] is not None
    assert stored["debtor"]["document_type"] == "cpf"
    texts = [
        orjson.dumps(stored),
        *(orjson.dumps(dict(event.model_dump())) for event in harness.events_of(ChargeCreated)),
    ]
    for personal in (b"Ana Lima", b"11144477735"):
        assert not any(personal in text for text in texts)


async def test_terms_are_revised(harness: Harness, rail: RecordingRail) -> None:
    """A change of terms is made at the provider with all terms, keeps what it does not name, and counts a revision."""
    account = await harness.account()
    made = await charge(harness, account["id"], 10_000, due=FULL)
    changes = {"date": "2026-01-16", "fine": {"amount": brl(50)}, "early_discount": {"amount": brl(10)}}
    answer = await revised(harness, made["txid"], amount=brl(20_000), due=changes)
    assert answer.status == 200, answer.body
    terms = answer.json["due"]
    assert (terms["date"], terms["last_date"], terms["rebate"]["amount"]) == ("2026-01-16", "2026-01-26", brl(100))
    assert (terms["fine"]["amount"], terms["discounts"], terms["early_discount"]["amount"]) == (brl(50), None, brl(10))
    assert (answer.json["amount"], terms["amount_payable"]) == (brl(20_000), brl(20_000 - 100 - 160))
    (order,) = rail.revisions
    assert order.due is not None
    assert (order.amount, order.due["interest"]) == (
        20_000,
        {"kind": "percent", "value": 100, "per": "month", "days": "calendar"},
    )
    assert [fact.revision for fact in harness.events_of(ChargeRevised)] == [1]
    assert (await revised(harness, made["txid"], due={"date": "2026-01-16"})).json == answer.json
    assert len(rail.revisions) == 1


@pytest.mark.parametrize(("amount", "day"), [(10_000, "2026-01-12"), (10_250, "2026-01-12"), (10_000, "2026-01-20")])
async def test_either_terms_pay_while_the_outcome_of_a_change_is_unknown(
    harness: Harness, rail: RecordingRail, amount: int, day: str
) -> None:
    """When the answer to a change is lost, what is payable on the old and on the new terms both pays the charge, which
    takes the terms that were paid."""
    account = await harness.account()
    made = await charge(harness, account["id"], 10_000, due=due(fine={"amount": brl(250)}))
    rail.outcome = Unavailable("the answer is lost")
    assert (await revised(harness, made["txid"], due={"date": "2026-01-20"})).status == 503
    rail.outcome = None
    await reported(harness, report(rail.orders[0].reference, amount, horario=noon(day)))
    paid = await shown(harness, made["txid"])
    assert (paid["status"], paid["due"]["amount_payable"]) == ("paid", brl(amount))
    assert paid["due"]["date"] == (DUE_DATE if amount == 10_250 else "2026-01-20")
    assert (await suspended(harness), (await harness.balance(account["id"]))[0]) == (0, amount)


async def test_a_charge_with_a_due_date_is_withdrawn_and_listed(harness: Harness, rail: RecordingRail) -> None:
    """A withdrawal reaches the provider, and a list shows the debtors of all its charges."""
    account = await harness.account()
    first = await charge(harness, account["id"], 10_000, due=FULL)
    harness.clock.advance(timedelta(seconds=1))
    await charge(harness, account["id"], 500)
    harness.clock.advance(timedelta(seconds=1))
    last = await charge(harness, account["id"], 700, due=due(debtor=DEBTOR | {"name": "Bia Reis"}))
    answer = await harness.call("POST", f"{CHARGES_PATH}/{first['txid']}/remove", {})
    assert (answer.json["status"], answer.json["due"]["amount_payable"]) == ("removed", None)
    assert rail.removed == {rail.orders[0].reference}
    listed = (await harness.call("GET", CHARGES_PATH)).json["data"]
    assert [one["due"] and one["due"]["debtor"]["name"] for one in listed] == ["Bia Reis", None, "Ana Lima"]
    assert listed[0] == last


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"date": "2025-12-30"}, "validation_failed", "/due/date"),
        ({"date": "2036-01-01"}, "validation_failed", "/due/date"),
        ({"date": "2026-02-30"}, "validation_failed", "/due/date"),
        ({"date": "20260109"}, "validation_failed", "/due/date"),
        ({"valid_days": -1}, "validation_failed", "/due/valid_days"),
        ({"valid_days": 1_828}, "validation_failed", "/due/valid_days"),
        ({"debtor": None}, "validation_failed", "/due/debtor"),
        ({"debtor": {"name": "", "document": DEBTOR["document"]}}, "validation_failed", "/due/debtor/name"),
        (
            {"debtor": {"name": "Ana", "document": {"type": "cpf", "number": "12345678901"}}},
            "validation_failed",
            "/due/debtor/document/number",
        ),
        ({"fine": {}}, "validation_failed", "/due/fine"),
        ({"fine": {"amount": brl(1), "basis_points": 1}}, "validation_failed", "/due/fine"),
        ({"fine": {"basis_points": 10_001}}, "validation_failed", "/due/fine/basis_points"),
        ({"fine": {"amount": {"value": 1, "currency": "USD"}}}, "currency_mismatch", "/due/fine/amount/currency"),
        ({"interest": {"amount": brl(1), "per": "month"}}, "validation_failed", "/due/interest"),
        (
            {"interest": {"basis_points": 1, "per": "month", "days": "business"}},
            "validation_failed",
            "/due/interest",
        ),
        ({"interest": {"basis_points": 1, "per": "year"}}, "validation_failed", "/due/interest/per"),
        ({"rebate": {"amount": brl(1_050)}}, "validation_failed", "/due/rebate"),
        ({"discounts": []}, "validation_failed", "/due/discounts"),
        ({"discounts": [{"amount": brl(1), "until": "2026-01-10"}]}, "validation_failed", "/due/discounts"),
        ({"early_discount": {"amount": brl(150)}}, "validation_failed", "/due/discounts"),
        ({"note": "x"}, "validation_failed", "/due/note"),
    ],
)
async def test_invalid_terms_are_refused(
    harness: Harness, rail: RecordingRail, change: dict[str, Any], code: str, pointer: str
) -> None:
    """Terms that are invalid or contradict each other are refused with the field, and the provider is not asked."""
    answer = await asked(harness, (await harness.account())["id"], due=due(**change))
    assert (answer.status, answer.code) == (422, code)
    assert answer.json["errors"][0]["pointer"] == pointer
    assert rail.orders == []


async def test_the_two_kinds_of_charges_are_not_mixed(harness: Harness, rail: RecordingRail) -> None:
    """`expires_in` is refused for a charge with a due date, and a due date for an immediate charge."""
    account = await harness.account()
    both = await asked(harness, account["id"], due=FULL, value=10_000, expires_in=60)
    assert (both.status, both.json["errors"][0]["pointer"]) == (422, "/expires_in")
    later, now = await charge(harness, account["id"], 10_000, due=FULL), await charge(harness, account["id"])
    seconds = await revised(harness, later["txid"], expires_in=60)
    assert (seconds.status, seconds.json["errors"][0]["pointer"]) == (422, "/expires_in")
    dated = await revised(harness, now["txid"], due={"date": DUE_DATE})
    assert (dated.status, dated.json["errors"][0]["pointer"]) == (422, "/due")
    assert rail.revisions == []


async def test_a_change_that_leaves_no_day_to_pay_is_refused(harness: Harness, rail: RecordingRail) -> None:
    """Terms whose last day has passed are refused, and the charge stays as it was."""
    made = await charge(harness, (await harness.account())["id"], 10_000, due=FULL)
    harness.clock.advance(day_begins(date(2026, 1, 15)) - harness.clock.now())
    answer = await revised(harness, made["txid"], due={"valid_days": 0})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/due/valid_days")
    assert rail.revisions == []
