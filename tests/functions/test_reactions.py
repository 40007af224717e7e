"""How functions react to facts that are not theirs, that come again, or that contradict what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import pytest

from events.charges import ChargePaid
from events.failure import Failure
from events.holds import FundsHeld, FundsRefused
from events.ledger import TransferPosted, TransferRefused
from events.payments.capture_requested import PaymentCaptureRequested
from events.refunds import RefundPostingRequested
from events.sweeps import SagaOverdue
from shared.core.envelope import Event
from shared.core.money import Money
from tests.functions.payments.story import story
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Harness

LedgerFact = type[TransferPosted] | type[TransferRefused]
FAILURE = Failure(code="transfer_expired", detail="The deadline of the transfer has passed.")
_AMOUNT = Money(value=1000, currency="BRL")


def ledger_fact(model: LedgerFact, cause_type: str, cause_id: str, transfer_id: str) -> Event:
    """Return a fact of the ledger about a transfer."""
    about: dict[str, Any] = {"transfer_id": transfer_id, "cause_type": cause_type, "cause_id": cause_id}
    if model is TransferRefused:
        return TransferRefused(**about, failure=FAILURE)
    recorded_at = "2026-01-01T00:00:00.000000Z"
    return TransferPosted(**about, legs=(), recorded_at=recorded_at, payment_id=None, description=None)


def _fact(model: type[Event], cause_type: str) -> Event:
    """Return a fact whose cause is of this type and is not stored."""
    if model is SagaOverdue:
        return SagaOverdue(saga_id="ghost", saga_type=cause_type, step="created", attempt=1)  # type: ignore[arg-type]
    if model is TransferPosted or model is TransferRefused:
        return ledger_fact(model, cause_type, "ghost", "ltr_1")
    about: dict[str, Any] = {"account_id": "acc_1", "amount": _AMOUNT, "cause_type": cause_type}
    about |= {"cause_id": "ghost", "payment_id": "pay_1"}
    if model is FundsRefused:
        return FundsRefused(**about, failure=FAILURE)
    return FundsHeld(**about, hold_id="hld_1", counterparty_account_id="acc_2")


@pytest.mark.parametrize(
    ("operation", "model", "cause_type"),
    [
        ("payments/authorize", FundsHeld, "refund"),
        ("payments/request_refund_posting", FundsHeld, "payment"),
        ("payments/decline", FundsRefused, "refund"),
        ("payments/fail_refund", FundsRefused, "payment"),
        ("payments/settle", TransferPosted, "refund"),
        ("payments/settle_refund", TransferPosted, "deposit"),
        ("providers/settle_deposit", TransferPosted, "payment"),
        ("payments/fail", TransferRefused, "deposit"),
        ("payments/fail_refund", TransferRefused, "payment"),
        ("providers/fail_deposit", TransferRefused, "refund"),
        ("payments/request_capture", SagaOverdue, "deposit"),
        ("providers/request_charge", SagaOverdue, "payment"),
        ("tenants/register_client", SagaOverdue, "deposit"),
        ("providers/request_return", FundsHeld, "payment"),
        ("providers/request_return", SagaOverdue, "deposit"),
        ("providers/settle_return", TransferPosted, "refund"),
        ("providers/fail_return", FundsRefused, "refund"),
        ("providers/fail_return", TransferRefused, "deposit"),
    ],
)
async def test_a_fact_about_another_kind_of_cause_is_acknowledged(
    harness: Harness, operation: str, model: type[Event], cause_type: str
) -> None:
    """A function that receives a fact about another kind of cause, as under a Trigger without its filter, does
    nothing."""
    before = len(harness.events)
    delivery = await harness.deliver(operation, harness.envelope(_fact(model, cause_type)))
    assert (delivery.status, len(harness.events)) == (204, before)


Kind = Literal["payment", "refund", "deposit"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SETTLES = {"payment": "payments/settle", "refund": "payments/settle_refund", "deposit": "providers/settle_deposit"}
FAILS = {"payment": "payments/fail", "refund": "payments/fail_refund", "deposit": "providers/fail_deposit"}


@dataclass(frozen=True, slots=True)
class Cause:
    """A payment, refund or deposit whose transfer is requested and whose outcome is not known yet."""

    harness: Harness
    kind: Kind
    id: str
    transfer_id: str

    async def deliver(self, model: LedgerFact, transfer_id: str = "") -> tuple[int, str]:
        """Deliver a new fact of the ledger; return the status of the delivery and the code of its problem."""
        operation = (SETTLES if model is TransferPosted else FAILS)[self.kind]
        fact = ledger_fact(model, self.kind, self.id, transfer_id or self.transfer_id)
        delivery = await self.harness.deliver(operation, self.harness.envelope(fact))
        return delivery.status, delivery.headers.get("Kne-Code", "")

    async def shown(self) -> Any:
        """Return the resource from the API."""
        return (await self.harness.call("GET", f"/v1/{self.kind}s/{self.id}")).json


async def _payment(harness: Harness) -> Cause:
    begun = await story(harness)
    payment_id = await begun.authorized(1000)
    assert (await begun.act(payment_id, "capture")).status == 200
    return Cause(harness, "payment", payment_id, harness.events_of(PaymentCaptureRequested)[-1].transfer_id)


async def _refund(harness: Harness) -> Cause:
    begun = await story(harness)
    refund = (await begun.refund(await begun.paid(1000))).json
    for operation in ("accounts/hold_funds", "payments/request_refund_posting"):
        envelope = harness.events[-1]
        assert (await harness.deliver(operation, envelope)).status == 204
    return Cause(harness, "refund", refund["id"], harness.events_of(RefundPostingRequested)[-1].transfer_id)


async def _deposit(harness: Harness) -> Cause:
    rail = await with_rail(harness)
    made = await deposit(harness, (await harness.account())["id"])
    await harness.run_events()
    assert (await callback(harness, report(rail.requested[0][0]))).status == 200
    return Cause(harness, "deposit", made["id"], harness.events_of(ChargePaid)[-1].transfer_id)


@pytest.fixture(params=KINDS)
async def cause(request: pytest.FixtureRequest, harness: Harness) -> Cause:
    """A payment, a refund and a deposit, each before the outcome of its transfer."""
    return await {"payment": _payment, "refund": _refund, "deposit": _deposit}[request.param](harness)


async def test_an_outcome_that_comes_again_changes_nothing(cause: Cause) -> None:
    """A posted transfer that is reported by two events settles its cause once."""
    assert await cause.deliver(TransferPosted) == (204, "")
    published = len(cause.harness.events)
    assert (await cause.shown())["status"] == "settled"
    assert await cause.deliver(TransferPosted) == (204, "")
    assert len(cause.harness.events) == published


async def test_a_refused_transfer_fails_its_cause_once(cause: Cause) -> None:
    """A refused transfer that is reported by two events fails its cause once, with the ledger's reason."""
    assert await cause.deliver(TransferRefused) == (204, "")
    published = len(cause.harness.events)
    shown = await cause.shown()
    assert (shown["status"], shown["failure"]["code"]) == ("failed", FAILURE.code)
    assert await cause.deliver(TransferRefused) == (204, "")
    assert len(cause.harness.events) == published


@pytest.mark.parametrize(("first", "second"), [(TransferPosted, TransferRefused), (TransferRefused, TransferPosted)])
async def test_a_contradiction_of_the_ledger_is_left_to_an_operator(
    cause: Cause, first: LedgerFact, second: LedgerFact
) -> None:
    """A fact that contradicts an earlier one of the same transfer becomes a dead letter and changes nothing."""
    assert (await cause.deliver(first))[0] == 204
    before = await cause.shown()
    assert await cause.deliver(second) == (409, "illegal_state")
    assert await cause.shown() == before


async def test_the_transfer_of_another_cause_settles_nothing(cause: Cause) -> None:
    """A posted transfer that is not the cause's own is refused for good."""
    before = await cause.shown()
    assert await cause.deliver(TransferPosted, "ltr_another") == (422, "validation_failed")
    assert await cause.shown() == before
