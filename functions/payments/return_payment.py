"""pix.payment_returned, bank.transfer_returned → payment.returned, refund.posting_requested: a payment came back."""

from __future__ import annotations

from events.rail_payments import RETURNED, RailPaymentReturned
from functions.payments._payment import update_payment
from functions.payments._rail import rail_part
from functions.payments._return import give_back
from shared.context.context import Context
from shared.functions.decorators import event_function
from shared.records.payments import PAYMENTS, ReturnDocument


@event_function(*RETURNED)
async def return_payment(event: RailPaymentReturned, ctx: Context) -> None:
    """Give the money of a returned payment, or of a part of it, back to the payer as one refund. A repeated fact has no
    further effect.

    The return of a payment that is not settled yet is stored, and the money is given back when it is settled. Of one
    that has failed nothing was taken from the payer.
    """
    payment = await ctx.referenced(PAYMENTS, event.payment_id, "/payment_id")
    part = rail_part(payment)
    returned: ReturnDocument = {"amount": event.amount_returned.value, "reason": event.reason}
    if event.return_id is not None:
        before = part.get("returns", [])
        if event.return_id in [one.get("id") for one in before]:
            return
        returned["id"] = event.return_id
        known = update_payment(ctx, payment, rail={**part, "returns": [*before, returned]})
    elif part["returned"] is None:
        known = update_payment(ctx, payment, rail={**part, "returned": returned})
    else:
        return
    if payment["status"] == "settled":
        await give_back(ctx, known, returned)
