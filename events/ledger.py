"""Facts of the ledger."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from events import topics
from events.failure import Failure
from shared.core.envelope import Event

CauseType = Literal["payment", "refund", "deposit", "return"]


class PostedLeg(BaseModel):
    """One recorded leg.

    `sequence` numbers the account's entries from 1; `balance_after` is credits less debits up to and including this
    entry. Amounts are minor units of `currency`. `recorded_at` is the time of the entry where it is not the transfer's:
    the times of an account's entries never decrease, and those of a transfer's entries may differ.
    """

    model_config = ConfigDict(frozen=True)

    leg: int
    account_id: str
    direction: Literal["debit", "credit"]
    amount: int
    currency: str
    sequence: int
    balance_after: int
    recorded_at: str | None = None


class LedgerEvent(Event):
    """The fields of every fact of the ledger (`cause_type` is also the extension attribute `causetype`)."""

    topic: ClassVar[str] = topics.LEDGER
    subject_field: ClassVar[str] = "transfer_id"

    transfer_id: str
    cause_type: CauseType
    cause_id: str


class TransferPosted(LedgerEvent):
    """A transfer was recorded."""

    type: ClassVar[str] = "lastro.ledger.transfer_posted.v1"

    legs: tuple[PostedLeg, ...]
    recorded_at: str
    payment_id: str | None
    description: str | None


class TransferRefused(LedgerEvent):
    """The ledger refused a transfer: it will never be recorded."""

    type: ClassVar[str] = "lastro.ledger.transfer_refused.v1"

    failure: Failure


class DaySealed(Event):
    """A day of the tenant's ledger was sealed.

    `digest` is computed from `previous_digest`, the day and all sealed entries. Keep it outside the platform:
    `lastro ledger verify --seal DAY=DIGEST` compares it with the stored ledger.
    """

    type: ClassVar[str] = "lastro.ledger.day_sealed.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "day"
    terminal: ClassVar[bool] = True

    day: str
    digest: str
    previous_digest: str
    accounts: int
    entries: int
    transfers: int


class AuditCompleted(Event):
    """A day of the tenant's ledger was audited.

    `differences` names the first 20 of `difference_count` differences. The digests are those of the entries of payment
    accounts, and of the statement lines that were made from the ledger's facts; they are equal when no fact is lost.
    """

    type: ClassVar[str] = "lastro.ledger.audit_completed.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "day"
    terminal: ClassVar[bool] = True

    day: str
    passed: bool
    transfers: int
    entries: int
    postings_digest: str
    events_digest: str
    difference_count: int
    differences: tuple[str, ...]
