"""lastro.ledger.transfer_posted.v1 of a payment: its transfer is recorded."""

from __future__ import annotations

from events.ledger import TransferPosted
from events.payments.settled import PaymentSettled
from functions.payments._payment import parties, transition
from shared.context.context import Context
from shared.core.money import money
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS


@event_function(TransferPosted)
async def settle(event: TransferPosted, ctx: Context) -> None:
    """Settle the payment whose transfer the ledger has recorded.

    A payment with another terminal status contradicts the ledger. Problem `illegal_state` makes the event a dead
    letter, which an operator has to examine. The money of a payment over a rail that has come back meanwhile is given
    back.
    """
    if event.cause_type != "payment":
        return
    payment = await ctx.referenced(PAYMENTS, event.cause_id, "/cause_id")
    if payment["status"] == "settled":
        return
    amount = payment["capture_amount"]
    if event.transfer_id != payment["transfer_id"] or amount is None:
        raise Problem("validation_failed", f"{event.transfer_id} is not the transfer of {payment['id']}.")
    captured = money(amount, payment["currency"])
    fact = PaymentSettled(**parties(payment), amount_captured=captured, transfer_id=event.transfer_id)
    settled = await transition(ctx, payment, "settled", fact, amount_captured=amount)
    part = settled.get("rail")
    if part is not None and (part["returned"] is not None or "returns" in part):
        # It came back before the ledger had recorded it.
        from functions.payments._return import give_back

        for returned in ([] if part["returned"] is None else [part["returned"]]) + part.get("returns", []):
            settled = await give_back(ctx, settled, returned)
