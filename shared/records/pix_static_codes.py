"""The documents of static PIX codes (owner: the providers domain)."""

from __future__ import annotations

from typing import Final

from shared.ports.documents import Collection, Document, Index, NoChanges


class StaticCodeDocument(Document):
    """A static BR Code, which may be paid any number of times.

    The id is the txid that the code has, by which the provider reports its payments; `txid` is the tenant's. `amount`
    is in minor units, or None when the payer chooses it. `correlation_id` is the id of the request.
    """

    txid: str
    account_id: str
    amount: int | None
    currency: str
    br_code: str
    correlation_id: str
    created_at: str


STATIC_CODES: Final = Collection(
    "pix_static_codes",
    owner="providers",
    document=StaticCodeDocument,
    changes=NoChanges,
    indexes=(Index(("created_at",)), Index(("account_id", "created_at"))),
)
