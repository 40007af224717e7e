"""POST /v1/payments, the payment's way to its end, and the reading of payments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.core.clock import format_time
from tests.functions.payments.story import story
from tests.harness import Harness


async def test_a_payment_is_created_as_requested(harness: Harness) -> None:
    """The response is 201 with Location and the whole resource, in which omitted fields are null."""
    begun = await story(harness)
    body = {
        "amount": {"value": 1050, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payee,
        "expires_in": 60,
        "reference": "order-1",
        "metadata": {"k": "v"},
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert answer.status == 201
    payment = answer.json
    assert answer.headers["location"] == f"/v1/payments/{payment['id']}"
    now = harness.clock.now()
    assert payment == {
        "id": payment["id"],
        "status": "created",
        "amount": {"value": 1050, "currency": "BRL"},
        "amount_captured": {"value": 0, "currency": "BRL"},
        "amount_refunded": {"value": 0, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payee,
        "capture": "automatic",
        "reference": "order-1",
        "description": None,
        "metadata": {"k": "v"},
        "failure": None,
        "created_at": format_time(now),
        "updated_at": format_time(now),
        "expires_at": format_time(now + timedelta(seconds=60)),
    }
    assert await harness.payment(payment["id"]) == payment


async def test_an_authorization_lasts_seven_days_by_default(harness: Harness) -> None:
    """An authorization without `expires_in` expires after seven days."""
    begun = await story(harness)
    payment = await harness.pay(begun.payer, begun.payee, 1)
    assert payment["expires_at"] == format_time(harness.clock.now() + timedelta(days=7))


async def test_a_payment_with_automatic_capture_runs_to_its_end(harness: Harness) -> None:
    """A payment with automatic capture settles, its amount is transferred, and nothing stays held."""
    begun = await story(harness)
    payment = await harness.payment(await begun.paid(1000))
    assert payment["status"] == "settled"
    assert payment["amount_captured"] == {"value": 1000, "currency": "BRL"}
    assert await begun.balances() == ((9000, 0), (1000, 0))
    assert harness.undelivered == []


async def test_a_payment_that_cannot_be_paid_is_declined_and_leaves_no_hold(harness: Harness) -> None:
    """A payment that cannot be paid is declined with a failure reason and leaves no hold; the response is not an
    error."""
    begun = await story(harness, funds=999)
    payment = await harness.payment(await begun.paid(1000))
    assert payment["status"] == "declined"
    assert payment["failure"]["code"] == "insufficient_funds"
    assert await begun.balances() == ((999, 0), (0, 0))


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"payer_account_id": "acc_unknown"}, 422, "unknown_reference", "/payer_account_id"),
        ({"payee_account_id": "acc_unknown"}, 422, "unknown_reference", "/payee_account_id"),
        ({"method": "cheque"}, 422, "validation_failed", "/method"),
        ({"expires_in": 59}, 422, "validation_failed", "/expires_in"),
        ({"expires_in": 2_592_001}, 422, "validation_failed", "/expires_in"),
        ({"expires_in": 60.0}, 422, "validation_failed", "/expires_in"),
        ({"capture": "later"}, 422, "validation_failed", "/capture"),
        ({"reference": "r" * 141}, 422, "validation_failed", "/reference"),
        ({"description": "d" * 501}, 422, "validation_failed", "/description"),
        ({"metadata": {"k": "v" * 501}}, 422, "validation_failed", "/metadata/k"),
        ({"metadata": {f"k{n}": "v" for n in range(51)}}, 422, "validation_failed", "/metadata"),
        ({"metadata": {"no space": "v"}}, 422, "validation_failed", "/metadata/no space"),
        ({"unknown": 1}, 422, "validation_failed", "/unknown"),
        ({"amount": {"value": 0, "currency": "BRL"}}, 422, "validation_failed", "/amount/value"),
        ({"amount": {"value": -1, "currency": "BRL"}}, 422, "validation_failed", "/amount/value"),
        ({"amount": {"value": 100.0, "currency": "BRL"}}, 422, "validation_failed", "/amount/value"),
        ({"amount": {"value": "100", "currency": "BRL"}}, 422, "validation_failed", "/amount/value"),
        ({"amount": {"value": True, "currency": "BRL"}}, 422, "validation_failed", "/amount/value"),
        ({"amount": {"value": 2**63 - 1, "currency": "XXX"}}, 422, "validation_failed", "/amount/currency"),
        ({"amount": {"value": 1, "currency": "USD"}}, 422, "currency_mismatch", "/payer_account_id"),
        ({"amount": None}, 422, "validation_failed", "/amount"),
    ],
)
async def test_an_invalid_payment_is_refused(
    harness: Harness, change: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    """Each invalid command is refused with its code and a pointer to the field, and no payment is created."""
    begun = await story(harness)
    events = len(harness.events)
    body = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payee,
        **change,
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (status, code)
    assert pointer in [error["pointer"] for error in answer.json["errors"]]
    assert len(harness.events) == events


async def test_paying_oneself_is_refused(harness: Harness) -> None:
    """A payment from an account to itself is refused."""
    begun = await story(harness)
    body = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payer,
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert answer.json["errors"][0]["pointer"] == "/payee_account_id"


async def test_accounts_of_two_currencies_do_not_pay_each_other(harness: Harness) -> None:
    """A payment between accounts of two currencies is refused, whichever account has the other currency."""
    begun = await story(harness)
    dollars = await harness.account(currency="USD")
    body = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": dollars["id"],
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (422, "currency_mismatch")
    assert answer.json["errors"][0]["pointer"] == "/payee_account_id"


async def test_a_closed_account_takes_part_in_no_payment(harness: Harness) -> None:
    """A payment from or to a closed account is refused with 422 `account_closed` at the account's field."""
    from shared.records.accounts import ACCOUNTS
    from tests.functions.payments.story import put

    begun = await story(harness)
    await put(harness, ACCOUNTS, begun.payee, status="closed")
    body = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payee,
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert (answer.status, answer.code) == (422, "account_closed")


async def test_another_tenants_accounts_and_payments_are_unknown(harness: Harness) -> None:
    """Ids of another tenant are answered as unknown ones: 422 in a body, 404 in a path, and not in any list."""
    begun = await story(harness)
    payment_id = await begun.paid()
    await harness.tenant("other")
    body = {
        "amount": {"value": 100, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": begun.payer,
        "payee_account_id": begun.payee,
    }
    answer = await harness.call("POST", "/v1/payments", body, tenant="other")
    assert (answer.status, answer.code) == (422, "unknown_reference")
    paths = [
        ("GET", f"/v1/payments/{payment_id}"),
        ("GET", f"/v1/payments/{payment_id}/events"),
        ("GET", f"/v1/payments/{payment_id}/refunds"),
        ("POST", f"/v1/payments/{payment_id}/capture"),
        ("POST", f"/v1/payments/{payment_id}/cancel"),
        ("POST", f"/v1/payments/{payment_id}/refunds"),
    ]
    for method, path in paths:
        answer = await harness.call(method, path, tenant="other")
        assert (answer.status, answer.code) == (404, "not_found"), path
    assert (await harness.call("GET", "/v1/payments", tenant="other")).json["data"] == []


async def test_payments_are_listed_by_status_account_reference_and_time(harness: Harness) -> None:
    """Payments meet every filter, newest first, and a cursor contains the filters."""
    begun = await story(harness)
    first = await begun.paid(100, reference="a")
    harness.clock.advance(timedelta(seconds=10))
    later = format_time(harness.clock.now())
    second = await begun.paid(200, reference="b")
    third = await begun.authorized(300, reference="b")

    async def ids(query: str) -> list[str]:
        answer = await harness.call("GET", "/v1/payments", query=query)
        assert answer.status == 200, answer.body
        return [payment["id"] for payment in answer.json["data"]]

    assert await ids("") == [third, second, first]
    assert await ids("status=settled") == [second, first]
    assert await ids("reference=b&status=settled") == [second]
    assert await ids(f"account={begun.payee}") == [third, second, first]
    assert await ids("account=acc_none") == []
    assert await ids(f"from={later}") == [third, second]
    assert await ids(f"to={later}") == [first]
    page = (await harness.call("GET", "/v1/payments", query="limit=1&status=settled")).json
    assert [payment["id"] for payment in page["data"]] == [second]
    rest = (await harness.call("GET", "/v1/payments", query=f"cursor={page['next_cursor']}")).json
    assert [payment["id"] for payment in rest["data"]] == [first]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    [
        "status=unknown",
        "limit=0",
        "limit=101",
        "cursor=x",
        "sort=asc",
        "from=yesterday",
        "from=2026-01-01T00:00:00",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "since=2026-01-01T00:00:00Z",
        "from=9999-12-31T23:59:59-23:00",
    ],
)
async def test_an_invalid_query_is_400(harness: Harness, query: str) -> None:
    """An unknown parameter or a value out of bounds is answered with 400 `malformed_request`."""
    answer = await harness.call("GET", "/v1/payments", query=query)
    assert (answer.status, answer.code) == (400, "malformed_request")
