"""POST /v1/payments/{payment_id}/cancel."""

from __future__ import annotations

from pydantic import Field

from events.payments.canceled import PaymentCanceled
from functions.payments._access import changeable_payment
from functions.payments._card import refuse_card_number_about
from functions.payments._payment import parties, transition
from functions.payments._payment_resource import Payment, payment_resource
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Command, Description


class Cancel(Command):
    """The reason for which a payment is canceled, if there is one."""

    reason: Description | None = Field(default=None, description="A reason. It is shown in the payment's timeline.")


@http_function(
    "POST /v1/payments/{payment_id}/cancel",
    scope="payments:write",
    empty_body_is_object=True,
    problems=("illegal_state",),
)
async def cancel(payment_id: str, command: Cancel, ctx: Context) -> Payment:
    """Cancel a payment.

    The payment must be `created` or `authorized`. An amount that is held for it is released.
    """
    payment = await changeable_payment(ctx, payment_id)
    refuse_card_number_about(payment, command)
    fact = PaymentCanceled(**parties(payment), reason=command.reason)
    return payment_resource(await transition(ctx, payment, "canceled", fact))
