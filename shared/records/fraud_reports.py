"""The documents of reports of fraud about received payments (owner: the providers domain)."""

from __future__ import annotations

from typing import Final, Literal

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document, Index

FraudReportStatus = Literal["open", "accepted", "rejected", "canceled"]


class FraudReportDocument(Document):
    """A payer's bank reports that a received payment was a fraud (Banco Central, Mecanismo Especial de Devolução).

    `provider_id` is the provider's id of the report. `amount` is what is asked back, in minor units, and `amount_held`
    what could be held of it, or None while that is not known. The return `return_id` has the hold and, when the report
    is accepted, returns the money. `details` is what the payer's bank says, sealed for the tenant. `reason` is the
    tenant's reason for its decision.
    """

    status: FraudReportStatus
    provider_id: str
    deposit_id: str
    account_id: str
    return_id: str
    amount: int
    amount_held: int | None
    currency: str
    details: str | None
    reason: str | None
    analysis_due_at: str
    decided_at: str | None
    correlation_id: str
    created_at: str
    updated_at: str


class FraudReportChanges(TypedDict, total=False):
    """The fields of a report that may change."""

    status: FraudReportStatus
    amount_held: int | None
    details: str | None
    reason: str | None
    decided_at: str | None
    updated_at: str


FRAUD_REPORTS: Final = Collection(
    "fraud_reports",
    owner="providers",
    document=FraudReportDocument,
    changes=FraudReportChanges,
    indexes=(
        Index(("status",)),
        Index(("status", "analysis_due_at")),
        Index(("account_id",)),
        Index(("return_id",), unique=True),
    ),
)
