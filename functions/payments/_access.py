"""Which payments and refunds a person sees and may change. A service sees and changes all of the tenant's."""

from __future__ import annotations

from shared.context.context import Context
from shared.context.persons import owns_one_of, person_of
from shared.core.problems import Problem
from shared.records.payments import PAYMENTS, PaymentDocument, RefundDocument


async def visible_payment(ctx: Context, payment_id: str) -> PaymentDocument:
    """Return the payment in the path. Raises Problem `not_found`, also when the caller is a person with an account on
    neither side."""
    payment = await ctx.required(PAYMENTS, payment_id)
    await require_side(ctx, payment)
    return payment


async def require_side(ctx: Context, document: PaymentDocument | RefundDocument) -> None:
    """Raise Problem `not_found` when the caller is a person with an account on neither side."""
    person = person_of(ctx)
    if person is None:
        return
    if not await owns_one_of(ctx, person, document["payer_account_id"], document["payee_account_id"]):
        raise Problem("not_found", f"There is no {document['id']}.")


async def changeable_payment(ctx: Context, payment_id: str) -> PaymentDocument:
    """Return the payment in the path, to capture or cancel it.

    A person captures or cancels a payment that the person has created, or that is paid to an account of the person: a
    payer cannot take back what a merchant has had authorized. Raises Problem `not_found` or `insufficient_scope`.
    """
    payment = await visible_payment(ctx, payment_id)
    person = person_of(ctx)
    if person is None or payment.get("created_by") == person:
        return payment
    if not await owns_one_of(ctx, person, payment["payee_account_id"]):
        raise Problem("insufficient_scope", "Only the payee, or who created the payment, may capture or cancel it.")
    return payment


async def refundable_payment(ctx: Context, payment_id: str) -> PaymentDocument:
    """Return the payment in the path, to refund it.

    The payee's account pays a refund, so a person refunds only what was paid to an account of the person. Raises
    Problem `not_found` or `insufficient_scope`.
    """
    payment = await visible_payment(ctx, payment_id)
    person = person_of(ctx)
    if person is not None and not await owns_one_of(ctx, person, payment["payee_account_id"]):
        raise Problem("insufficient_scope", "Only the payee may refund the payment.")
    return payment
