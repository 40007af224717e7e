"""Whatever happens to card payments, the ledger has what the gateway has, and nothing stays held."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.ports.documents import Query
from shared.records.accounts import HOLDS
from shared.records.payments import PAYMENTS, REFUNDS
from tests.functions.providers.cards import CLEARING, SUSPENSE, Gateway, charge, overdue, with_gateway
from tests.harness import Harness

TOKENS = ("tok_approve", "tok_pending", "tok_insufficient_funds", "tok_capture_fails", "tok_refund_fails")
FAULTS = ("late", "twice", "never", "wrong_amount", "out_of_order", "500", "cut")
ENDS = frozenset({"declined", "settled", "failed", "canceled", "expired"})
ROUNDS = 14

Step = tuple[str, Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("pay"), st.tuples(st.sampled_from(TOKENS), st.booleans())),
    st.tuples(st.just("capture"), st.integers(1, 1_000)),
    st.tuples(st.just("refund"), st.integers(1, 1_000)),
    st.tuples(st.just("cancel"), st.none()),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS)),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("deliver twice"), st.none()),
    st.tuples(st.just("outage"), st.booleans()),
    st.tuples(st.just("wait"), st.none()),
)


@dataclass
class Run:
    """A gateway, a merchant's account, and the payments that were made."""

    gateway: Gateway
    payee: str
    payments: list[str] = field(default_factory=list)

    async def step(self, kind: str, value: Any) -> None:
        gateway, harness = self.gateway, self.gateway.harness
        if kind == "pay":
            token, is_manual = value
            capture = "manual" if is_manual else "automatic"
            made = await charge(harness, self.payee, 1_000, token, capture=capture, expires_in=86_400)
            self.payments.append(made["id"])
        elif kind == "fault":
            await gateway.fault(value)
        elif kind == "deliver":
            await gateway.run()
        elif kind == "deliver twice":
            await gateway.run(times=2, shuffled=True, together=True)
        elif kind == "outage":
            self.outage(is_down=value)
        elif kind == "wait":
            await overdue(gateway)
        elif self.payments:
            path = f"/v1/payments/{self.payments[-1]}/{'refunds' if kind == 'refund' else kind}"
            body = {} if value is None else {"amount": {"value": value, "currency": "BRL"}}
            answer = await harness.call("POST", path, body)
            assert answer.status in (200, 201, 409, 422), answer.body

    def outage(self, *, is_down: bool) -> None:
        self.gateway.is_down = is_down
        self.gateway.adapter._api = None  # as a process that has just started, whose circuit is closed

    async def end(self) -> None:
        """Let the gateway answer, resolve what is in review, and wait until everything has ended."""
        self.outage(is_down=False)
        self.gateway.simulator._state.faults.clear()
        self.gateway.simulator._state.request_faults.clear()
        for letter in list(self.gateway.harness.undelivered):
            await self.gateway.harness.deliver(letter.operation, letter.envelope)
        for _ in range(ROUNDS):
            await overdue(self.gateway)
            for payment_id in self.payments:
                shown = await self.gateway.harness.payment(payment_id)
                if shown["status"] == "authorized" and shown["capture"] == "manual":
                    await self.gateway.harness.call("POST", f"/v1/payments/{payment_id}/cancel")
                elif shown["status"] == "review":
                    reason = {"outcome": "settled", "reason": "a test"}
                    await self.gateway.harness.call("POST", f"/v1/payments/{payment_id}/resolve", reason)
            await self.gateway.run()

    async def check(self) -> None:
        harness = self.gateway.harness
        documents, ledger = harness.documents, harness.runtime.ledger
        assert not await documents.find(HOLDS, "acme", Query({"status": "active"}, limit=10))
        refunds = await documents.find(REFUNDS, "acme", Query(limit=100))
        assert {refund["status"] for refund in refunds} <= {"settled", "failed"}
        credited = captured = 0
        for payment in await documents.find(PAYMENTS, "acme", Query(limit=100)):
            assert payment["status"] in ENDS
            credited += payment["amount_captured"] - payment["amount_refunded"]
            found = await self.gateway.adapter.payment(payment["id"])
            capture = None if found is None else found.capture
            moved = capture.amount if capture is not None and capture.status == "succeeded" else 0
            assert (moved > 0) == (payment["status"] == "settled")
            captured += moved - payment["amount_refunded"]
            if payment["status"] in ("canceled", "expired", "declined"):
                assert found is None or found.status in ("declined", "canceled", "expired")
        assert await ledger.balance("acme", self.payee) == credited
        assert await ledger.balance("acme", CLEARING) == -captured
        assert await ledger.balance("acme", SUSPENSE) == captured - credited
        assert await harness.balance(self.payee) == (credited, 0, credited)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=14), st.integers(0, 2**16))
def test_the_ledger_has_what_the_gateway_has(steps: list[Step], seed: int) -> None:
    """After any sequence of payments, captures, cancellations, refunds, faults, repeated deliveries and outages, each
    payment has ended, no hold is left here or at the gateway, and the accounts add up."""

    async def run() -> None:
        harness = Harness.make(seed=seed)
        await harness.tenant()
        gateway = await with_gateway(harness)
        made = Run(gateway, (await harness.account())["id"])
        for kind, value in steps:
            await made.step(kind, value)
        await made.end()
        await made.check()
        await gateway.simulator.close()

    asyncio.run(run())
