"""The resource of a static PIX code."""

from __future__ import annotations

from pydantic import Field

from shared.core.money import Money, money
from shared.http.models import CreatedAt, Resource
from shared.records.pix_static_codes import StaticCodeDocument


class StaticCode(Resource):
    """A static BR Code, which any number of payers may pay."""

    txid: str = Field(description="The code's id: 1 to 25 letters and digits.")
    account_id: str = Field(description="The id of the account that receives the money.")
    amount: Money | None = Field(description="The amount of each payment; null when the payer chooses it.")
    br_code: str = Field(description="The BR Code (copia e cola), the text of the QR code.")
    created_at: CreatedAt


def static_code_resource(code: StaticCodeDocument) -> StaticCode:
    """Return the resource of a static code."""
    return StaticCode(
        txid=code["txid"],
        account_id=code["account_id"],
        amount=None if code["amount"] is None else money(code["amount"], code["currency"]),
        br_code=code["br_code"],
        created_at=code["created_at"],
    )
