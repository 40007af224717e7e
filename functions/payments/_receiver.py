"""The receivers of payments over a rail, as requests name them: checked by the rail, and stored sealed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from shared.context.context import Context
from shared.core import tax_ids
from shared.core.money import Amount
from shared.core.problems import Problem, sentence
from shared.http.models import Command, Name
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


class HolderDocument(Command):
    """The taxpayer number of an account's holder."""

    type: Literal["cpf", "cnpj"] = Field(description="`cpf` of a person, `cnpj` of a company.")
    number: str = Field(min_length=1, max_length=18, description="The number, with or without punctuation.")


class AccountHolder(Command):
    """The holder of an account at a bank."""

    name: Name = Field(description="The holder's name.")
    document: HolderDocument = Field(description="The holder's taxpayer number.")


class BankAccountReceiver(Command):
    """The account at a bank that a transfer goes to."""

    bank: str = Field(
        min_length=3, max_length=8, description="The bank's code: three digits (COMPE), or the eight of its ISPB."
    )
    branch: str = Field(min_length=1, max_length=5, description="The branch (agência), without its check digit.")
    number: str = Field(
        min_length=3, max_length=14, description="The account's number with its check digit, such as `12345-6`."
    )
    type: Literal["checking", "savings", "payment"] = Field(description="The kind of account.")
    holder: AccountHolder = Field(description="Who holds the account.")


RECEIVERS: Final[Mapping[PaymentMethod, str]] = {"pix": "pix", "bank_transfer": "bank_account"}
"""The field of a request, and of a payment, that has the receiver elsewhere, by the payment method."""
_POINTERS: Final = {
    "holder_name": "holder/name",
    "holder_document": "holder/document/number",
    "holder_document_type": "holder/document/type",
}
"""Where a field of a receiver is in the request, if it is not there under its own name."""


def _fields(receiver: Command) -> dict[str, str]:
    """Return the fields of a receiver as its rail reads them."""
    if not isinstance(receiver, BankAccountReceiver):
        return receiver.model_dump(exclude_none=True)
    document = receiver.holder.document
    try:
        number = tax_ids.cpf(document.number) if document.type == "cpf" else tax_ids.cnpj(document.number)
    except ValueError as error:
        raise InvalidReceiver("holder_document", str(error)) from None
    return {
        "bank": receiver.bank,
        "branch": receiver.branch,
        "number": receiver.number,
        "type": receiver.type,
        "holder_name": receiver.holder.name,
        "holder_document_type": document.type,
        "holder_document": number,
    }


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
    if method == "pix" and len(receiver.model_dump(exclude_none=True)) != 1:
        raise Problem.at("validation_failed", "/pix", "`pix` has either `key` or `br_code`.")
    try:
        fields = _fields(receiver)
        shown = rail.shown_receiver(fields, amount)
    except InvalidReceiver as error:
        raise Problem.at("validation_failed", _pointer(method, error.field), sentence(str(error))) from None
    (sealed,) = await ctx.secrets.seal([json.dumps(fields)], "receivers")
    return {
        "receiver": sealed,
        "shown": shown,
        "end_to_end_id": None,
        "amount_moved": None,
        "is_posted": False,
        "returned": None,
    }


def _pointer(method: PaymentMethod, field: str) -> str:
    return f"/{RECEIVERS.get(method, method)}/{_POINTERS.get(field, field)}"
