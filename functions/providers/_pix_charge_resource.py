"""The PIX charge resource of the HTTP API."""

from __future__ import annotations

from pydantic import Field

from functions.providers._pix_charge import is_overdue
from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource, Time
from shared.records.pix_charges import PixChargeDocument, PixChargeStatus


class PixCharge(Resource):
    """A PIX charge: a BR Code that a payer pays once."""

    txid: str = Field(description="The charge's id: 26 to 35 letters and digits.")
    account_id: str = Field(description="The id of the account that receives the money.")
    amount: Money = Field(description="The amount to pay.")
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
    created_at: CreatedAt


def pix_charge_resource(charge: PixChargeDocument, now_text: str) -> PixCharge:
    """Return the resource of a charge as it is at a time: it expires without a write."""
    return PixCharge(
        txid=charge["txid"],
        account_id=charge["account_id"],
        amount=money(charge["amount"], charge["currency"]),
        expires_in=charge["expires_in"],
        description=charge["description"],
        status="expired" if is_overdue(charge, now_text) else charge["status"],
        br_code=charge["br_code"],
        location=charge["location"],
        end_to_end_id=charge["end_to_end_id"],
        expires_at=charge["expires_at"],
        created_at=charge["created_at"],
    )
