"""A card payment with a refund is carried out once, wherever it is interrupted."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ports.documents import Commit, Unavailable
from tests.functions.providers.cards import CLEARING, Gateway, overdue, with_gateway
from tests.harness import Harness

COMMITS = 24
"""More than the commits that a payment and its refund make."""


class InterruptedDocuments:
    """Documents whose commit of one number fails: before it is stored, or afterwards, as when a process ends there."""

    def __init__(self, documents: Any, number: int, *, is_stored: bool) -> None:
        self._documents = documents
        self._left = number
        self._is_stored = is_stored
        self.was_interrupted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        self._left -= 1
        self.was_interrupted |= self._left == 0
        if self._left != 0 or self._is_stored:
            await self._documents.commit(commit)
        if self._left == 0:
            raise Unavailable("interrupted")


async def story(gateway: Gateway) -> tuple[str, str]:
    """Pay 10.50 by card and refund 3.00 of it, repeating each request until it is answered."""
    harness = gateway.harness
    payee = (await harness.account())["id"]
    assert gateway.interrupted is not None
    documents, harness.runtime.documents = harness.runtime.documents, gateway.interrupted
    body = {
        "amount": {"value": 1050, "currency": "BRL"},
        "method": "card",
        "card": {"token": "tok_approve"},
        "payee_account_id": payee,
    }
    paid = await repeated(harness, "/v1/payments", body, "pay")
    await gateway.run()
    await overdue(gateway)
    refund = {"amount": {"value": 300, "currency": "BRL"}}
    await repeated(harness, f"/v1/payments/{paid['id']}/refunds", refund, "refund")
    await gateway.run()
    await overdue(gateway)
    harness.runtime.documents = documents
    return str(payee), str(paid["id"])


async def repeated(harness: Harness, path: str, body: Any, key: str) -> Any:
    answer = await harness.call("POST", path, body, key=key)
    if answer.status == 503:
        answer = await harness.call("POST", path, body, key=key)
    assert answer.status == 201, answer.body
    return answer.json


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("number", range(1, COMMITS + 1))
async def test_an_interruption_at_every_commit(harness: Harness, number: int, *, is_stored: bool) -> None:
    """When any commit fails, or succeeds without an answer, the card is charged and refunded once, and the ledger has
    what the gateway has."""
    gateway = await with_gateway(harness)
    interrupted: Any = InterruptedDocuments(harness.runtime.documents, number, is_stored=is_stored)
    gateway.interrupted = interrupted
    payee, payment_id = await story(gateway)
    shown = await harness.payment(payment_id)
    assert (shown["status"], shown["amount_captured"]["value"]) == ("settled", 1050)
    assert shown["amount_refunded"]["value"] == 300
    at_gateway = await gateway.adapter.payment(payment_id)
    assert at_gateway is not None
    assert at_gateway.capture is not None
    assert (at_gateway.capture.amount, [refund.amount for refund in at_gateway.refunds]) == (1050, [300])
    ledger = harness.runtime.ledger
    assert (await ledger.balance("acme", payee), await ledger.balance("acme", CLEARING)) == (750, -750)
    assert await harness.balance(payee) == (750, 0, 750)
