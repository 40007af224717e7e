"""Facts of the ledger."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from events import topics
from events.failure import Failure
from shared.core.envelope import Event

CauseType = Literal["payment", "refund", "deposit"]


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
