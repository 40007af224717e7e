"""The documents of PIX charges (owner: the providers domain)."""

from __future__ import annotations

from typing import Any, Final, Literal, NotRequired

from typing_extensions import TypedDict

from shared.core.due_terms import DueTerms
from shared.ports.documents import Collection, Document, Index

PixChargeStatus = Literal["active", "paid", "removed", "expired"]


class DebtorDocument(TypedDict):
    """Who owes the amount of a charge with a due date. `name` and `document_number` are sealed for the tenant."""

    name: str
    document_type: Literal["cpf", "cnpj"]
    document_number: str


class RevisionDocument(TypedDict):
    """A change of a charge that the provider is asked for. `requested_at` is when it was asked for the first time.

    `due` has the terms of a charge with a due date.
    """

    amount: int
    description: str | None
    expires_in: int | None
    expires_at: str
    requested_at: str
    due: NotRequired[DueTerms | None]


class PixChargeDocument(Document):
    """A PIX charge. The id is the id of the charge at the provider; `txid` is the tenant's (docs/decisions/0032).

    `amount` is in minor units. `expires_in` is what the request said, in seconds, or None. `exchange` is what was sent
    to the provider and what it answered, without personal data. `deposit_id` is the id that the deposit of its payment
    will have; `end_to_end_id` is the payment's, as soon as the provider has reported it: the charge is `paid` when that
    deposit is settled. `correlation_id` is the id of the request, which the provider's callback does not contain.
    `revision` counts the changes since the creation. `revising` is a change whose outcome at the provider is not known
    yet, or None: a payment on either terms pays the charge. `due` has the terms of a charge with a due date, `debtor`
    who owes it, and `amount_paid` what was paid of it; all three are None for an immediate charge, and `debtor` where
    it was erased. `debtor_index` is the blind index (a keyed digest) of the type and number of the debtor, by which the
    charges of a user are found, or None. Documents of earlier versions do not have the fields that are not required.
    """

    txid: str
    status: PixChargeStatus
    account_id: str
    amount: int
    currency: str
    description: str | None
    expires_in: int | None
    expires_at: str
    br_code: str
    location: str
    exchange: dict[str, Any]
    deposit_id: str
    end_to_end_id: str | None
    correlation_id: str
    revision: NotRequired[int]
    revising: NotRequired[RevisionDocument | None]
    due: NotRequired[DueTerms | None]
    debtor: NotRequired[DebtorDocument | None]
    debtor_index: NotRequired[str | None]
    amount_paid: NotRequired[int | None]
    created_at: str
    updated_at: str


class PixChargeChanges(TypedDict, total=False):
    """The fields of a PIX charge that may change."""

    status: PixChargeStatus
    amount: int
    description: str | None
    expires_in: int | None
    expires_at: str
    end_to_end_id: str | None
    revision: int
    revising: RevisionDocument | None
    due: DueTerms | None
    debtor: DebtorDocument | None
    debtor_index: str | None
    amount_paid: int | None
    updated_at: str


PIX_CHARGES: Final = Collection(
    "pix_charges",
    owner="providers",
    document=PixChargeDocument,
    changes=PixChargeChanges,
    indexes=(
        Index(("status", "expires_at")),
        Index(("created_at",)),
        Index(("account_id", "created_at")),
        Index(("debtor_index",), sparse=True),
    ),
)
