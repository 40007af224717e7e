"""Texts of every operation refuse card numbers, whatever the operation is about."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from shared.ports.documents import Collection, Query
from shared.records.accounts import ACCOUNTS
from shared.records.idempotency import IDEMPOTENCY
from shared.records.payments import PAYMENTS
from shared.records.users import USERS
from tests.harness import Harness

NUMBER = "4111111111111111"


async def _body(harness: Harness, path: str, more: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request that would succeed without `more`."""
    payer, payee = await harness.account(100), await harness.account()
    if path == "/v1/payments":
        amount = {"value": 10, "currency": "BRL"}
        parties = {"payer_account_id": payer["id"], "payee_account_id": payee["id"]}
        return path, {"amount": amount, "method": "internal", **parties, **more}
    if path == "/v1/accounts":
        return path, {"owner_id": payer["owner_id"], "currency": "BRL", **more}
    if path == "/v1/users":
        document = {"type": "cpf", "number": "11144477735"}
        return path, {"kind": "customer", "name": "Ana", "document": document, "email": "a@example.com", **more}
    return path.format(account=payer["id"], user=payer["owner_id"]), more


@pytest.mark.parametrize(
    ("method", "path", "more", "pointer"),
    [
        ("POST", "/v1/payments", {"description": f"card {NUMBER}"}, "/description"),
        ("POST", "/v1/payments", {"reference": "4111 1111 1111 1111"}, "/reference"),
        ("POST", "/v1/payments", {"metadata": {"note": "4111-1111-1111-1111"}}, "/metadata/note"),
        ("POST", "/v1/payments", {"metadata": {NUMBER: "x"}}, "/metadata/***1111"),
        ("POST", "/v1/accounts", {"metadata": {"card": "3782 822463 10005"}}, "/metadata/card"),
        ("POST", "/v1/users", {"name": f"Ana {NUMBER}"}, "/name"),
        ("PATCH", "/v1/users/{user}", {"metadata": {"card": NUMBER}}, "/metadata/card"),
        ("PATCH", "/v1/accounts/{account}", {"metadata": {"card": NUMBER}}, "/metadata/card"),
        ("POST", "/v1/accounts/{account}/block", {"reason": f"stolen: {NUMBER}"}, "/reason"),
    ],
)
async def test_a_text_with_a_card_number_is_refused_and_kept_nowhere(
    harness: Harness,
    method: str,
    path: str,
    more: dict[str, Any],
    pointer: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A card number in a text or in metadata of any operation is refused with 422 and is in no answer, log or store."""
    caplog.set_level(logging.DEBUG)
    target, body = await _body(harness, path, more)
    answer = await harness.call(method, target, body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    for text in (answer.body.decode(), caplog.text):
        assert NUMBER not in text.replace(" ", "").replace("-", "")
    collections: tuple[Collection[Any, ...], ...] = (USERS, ACCOUNTS, PAYMENTS, IDEMPOTENCY)
    for collection in collections:
        found = await harness.documents.find(collection, "acme", Query(limit=100))
        assert NUMBER not in str(found).replace(" ", "").replace("-", "")


async def test_a_text_with_another_long_number_is_stored(harness: Harness) -> None:
    """Phone numbers, times, UUIDs and numbers with a wrong check digit are stored unchanged."""
    long = "+5511987654321, 20261126232112123, 41111111-1111-4111-8111-111111111111, 4111111111111112"
    payer, payee = (await harness.account(100))["id"], (await harness.account())["id"]
    payment = await harness.pay(payer, payee, 10, description=long)
    assert (await harness.payment(payment["id"]))["description"] == long
