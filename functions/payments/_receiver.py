"""The receivers of payments over a rail, as requests name them: checked by the rail, and stored sealed."""

from __future__ import annotations

import json

from pydantic import Field

from shared.context.context import Context
from shared.core.money import Amount
from shared.core.problems import Problem
from shared.http.models import Command
from shared.ports.rail_payments import InvalidReceiver, RailRules
from shared.records.payments import PaymentMethod, RailPartDocument


class PixReceiver(Command):
    """The receiver of a payment by PIX: a key, or the BR Code of a QR code."""

    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=77,
        description="A PIX key: CPF or CNPJ without punctuation, phone (`+5511987654321`), e-mail, or random key.",
    )
    br_code: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="The text of a QR code of PIX. If it names an amount, the payment must have that amount.",
    )


def rail_of(ctx: Context, method: PaymentMethod, amount: Amount) -> RailRules:
    """Return the rail of a method. Raises Problem `currency_mismatch` or `validation_failed` for an amount that it does
    not move."""
    rail = ctx.rail_rules[method]
    if amount.currency != rail.currency:
        raise Problem.at("currency_mismatch", "/amount/currency", f"{rail.title} moves {rail.currency}.")
    if amount.value > rail.max_amount:
        detail = f"{rail.title} moves at most {rail.max_amount} minor units at once."
        raise Problem.at("validation_failed", "/amount/value", detail)
    return rail


async def sealed_receiver(
    ctx: Context, rail: RailRules, method: PaymentMethod, receiver: Command, amount: int
) -> RailPartDocument:
    """Return what a payment stores of its receiver, for `amount` minor units.

    Raises Problem `validation_failed`, which names the field that the rail cannot read.
    """
    fields: dict[str, str] = receiver.model_dump(exclude_none=True)
    if method == "pix" and len(fields) != 1:
        raise Problem.at("validation_failed", "/pix", "`pix` has either `key` or `br_code`.")
    try:
        shown = rail.shown_receiver(fields, amount)
    except InvalidReceiver as error:
        raise Problem.at("validation_failed", f"/{method}/{error.field}", f"{error}.") from None
    (sealed,) = await ctx.secrets.seal([json.dumps(fields)], "receivers")
    return {"receiver": sealed, "shown": shown, "end_to_end_id": None, "amount_moved": None, "is_posted": False}
