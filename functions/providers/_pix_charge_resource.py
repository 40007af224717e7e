"""The PIX charge resource of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from functions.providers._due_terms import ChargeDue, debtors_of, due_resource
from functions.providers._pix_charge import is_overdue
from shared.context.context import Context
from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time
from shared.ports.rail import Debtor
from shared.records.pix_charges import PixChargeDocument, PixChargeStatus


class PixCharge(Resource):
    """A PIX charge, immediate or with a due date: a BR Code that a payer pays once."""

    txid: str = Field(description="The charge's id: 26 to 35 letters and digits.")
    account_id: str = Field(description="The id of the account that receives the money.")
    amount: Money = Field(
        description="The amount to pay. With a due date, the amount before fine, interest, rebate and discount."
    )
    expires_in: int | None = Field(description="For how many seconds it can be paid, when the request said so.")
    description: str | None = Field(description="A text for the payer.")
    status: PixChargeStatus = Field(
        description="`active`: it can be paid. `paid`: the money is on the account. `expired`: it was not paid in "
        "time. `removed`: it was withdrawn."
    )
    br_code: str = Field(description="The BR Code (copia e cola), the text of the QR code.")
    location: str = Field(description="The URL, without its scheme, of the charge's terms for the payer's bank.")
    end_to_end_id: str | None = Field(description="The id of the payment on the PIX rail; null until it is reported.")
    expires_at: Time = Field(description="Until when it can be paid.")
    due: ChargeDue | None = Field(description="The due date and what belongs to it; null for an immediate charge.")
    created_at: CreatedAt

    @property
    def subject(self) -> str:
        """The txid, which is the id of a charge."""
        return self.txid


async def pix_charge_resource(charge: PixChargeDocument, ctx: Context) -> PixCharge:
    """Return the resource of a charge as it is now: it expires without a write."""
    (resource,) = await pix_charge_resources([charge], ctx)
    return resource


async def pix_charge_resources(charges: Sequence[PixChargeDocument], ctx: Context) -> list[PixCharge]:
    """Return the resources of charges. One call of the secrets port opens the debtors of all of them."""
    debtors = await debtors_of(ctx, charges)
    return [_resource(charge, debtors.get(charge["id"]), ctx) for charge in charges]


def _resource(charge: PixChargeDocument, debtor: Debtor | None, ctx: Context) -> PixCharge:
    status: PixChargeStatus = "expired" if is_overdue(charge, ctx.now_text) else charge["status"]
    return PixCharge(
        txid=charge["txid"],
        account_id=charge["account_id"],
        amount=money(charge["amount"], charge["currency"]),
        expires_in=charge["expires_in"],
        description=charge["description"],
        status=status,
        br_code=charge["br_code"],
        location=charge["location"],
        end_to_end_id=charge["end_to_end_id"],
        expires_at=charge["expires_at"],
        due=due_resource(charge, debtor, status, ctx.now),
        created_at=charge["created_at"],
    )
