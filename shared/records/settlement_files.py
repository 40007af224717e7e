"""The documents of imported settlement files (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

SettlementFileStatus = Literal["imported", "applied"]
SettlementOutcome = Literal["accepted", "settled", "refused", "returned"]
SettlementResult = Literal["pending", "matched", "unmatched"]


class SettlementLineDocument(TypedDict):
    """One payment of a file. `line` counts from 1; amounts are in minor units.

    `record` is the line of the file with the receiver's account and name masked. `payment_id` is the payment of the
    tenant with this reference, once the line was applied.
    """

    line: int
    reference: str
    bank_reference: str
    outcome: SettlementOutcome
    ordered: int
    moved: int
    moved_on: str | None
    occurrences: list[str]
    authentication: str | None
    record: str
    result: SettlementResult
    payment_id: str | None


class SettlementFileDocument(Document):
    """A settlement file of a bank. It is `applied` when the payments of its lines have their outcomes.

    `number` names the file at its bank: bank, agreement and sequence number. `digest` is the SHA-256 of its content.
    `made_at` is the bank's time of the file. `applied_at` is None until it is applied.
    """

    status: SettlementFileStatus
    provider: str
    number: str
    digest: str
    bank: str
    agreement: str
    sequence: int
    made_at: str
    currency: str
    lines: list[SettlementLineDocument]
    created_at: str
    applied_at: str | None


class SettlementFileChanges(TypedDict, total=False):
    """The fields of a settlement file that may change."""

    status: SettlementFileStatus
    lines: list[SettlementLineDocument]
    applied_at: str | None


SETTLEMENT_FILES: Final = Collection(
    "settlement_files",
    owner="providers",
    document=SettlementFileDocument,
    changes=SettlementFileChanges,
    indexes=(
        Index(("number",), unique=True),
        Index(("digest",), unique=True),
        Index(("provider", "applied_at"), sparse=True),
    ),
)
