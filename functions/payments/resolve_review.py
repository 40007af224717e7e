"""POST /v1/payments/{payment_id}/resolve: an operator ends the review of a payment over a rail."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from events.failure import Failure
from events.payments.failed import PaymentFailed
from functions.payments._access import visible_payment
from functions.payments._card import refuse_card_number_about
from functions.payments._payment import parties, transition
from functions.payments._payment_resource import Payment, payment_progress, payment_resource
from functions.payments._rail import rail_part, request_posting
from shared.context.context import Context
from shared.context.persons import person_of
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import Command, Description
from shared.records.failure import failure_document


class ResolveReview(Command):
    """The decision on a payment in review, and its reason."""

    outcome: Literal["settled", "failed"] = Field(
        description="`settled`: what the provider has moved is recorded. The payer pays it, at most the amount that is "
        "held; what is above that is the suspense account's. `failed`: nothing is recorded and the hold is released; "
        "choose it only when the provider has taken the money back."
    )
    reason: Description = Field(min_length=1, description="Why. It is logged, and is the detail of a failure.")


@http_function(
    "POST /v1/payments/{payment_id}/resolve",
    scope="payments:write",
    progress=payment_progress,
    problems=("illegal_state", "insufficient_scope"),
)
async def resolve_review(payment_id: str, command: ResolveReview, ctx: Context) -> Payment:
    """Resolve the review of a payment.

    The payment must be in `review`: the provider of its rail has moved another amount than was ordered. A decision for
    `settled` is final when the ledger has recorded the transfer. Tokens of persons cannot resolve a review.
    """
    payment = await visible_payment(ctx, payment_id)
    if person_of(ctx) is not None:
        raise Problem("insufficient_scope", "A review is resolved by a token of a service, not of a person.")
    refuse_card_number_about(payment, command)
    if payment["status"] != "review":
        raise Problem("illegal_state", f"The payment is {payment['status']}; only one in review can be resolved.")
    part = rail_part(payment)
    if part["is_posted"]:
        raise Problem("illegal_state", "The review is decided: the payment is being settled.")
    ctx.log.info("the review of %s is resolved as %s: %s", payment_id, command.outcome, command.reason)
    if command.outcome == "failed":
        failure = Failure(code="review_failed", detail=command.reason)
        fact = PaymentFailed(**parties(payment), failure=failure)
        stored = failure_document(failure.code, failure.detail)
        return payment_resource(await transition(ctx, payment, "failed", fact, failure=stored))
    moved = part["amount_moved"]
    if not moved:
        raise Problem("illegal_state", "The provider has moved nothing, so there is nothing to settle.")
    return payment_resource(await request_posting(ctx, payment, part, min(moved, payment["amount"])))
