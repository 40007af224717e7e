"""Facts of the ledger."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from events import topics
from events.failure import Failure
from shared.core.envelope import Event

CauseType = Literal["payment", "refund", "deposit"]


class PostedLeg(BaseModel):
    """One leg as recorded. `sequence` numbers the account's entries; `balance_after` is credits less debits up to
    and with this one; amounts are minor units of `currency`."""

    model_config = ConfigDict(frozen=True)

    leg: int
    account_id: str
    direction: Literal["debit", "credit"]
    amount: int
    currency: str
    sequence: int
    balance_after: int


class LedgerEvent(Event):
    """What every fact of the ledger carries (`cause_type` also as extension attribute `causetype`)."""

    topic: ClassVar[str] = topics.LEDGER
    subject_field: ClassVar[str] = "transfer_id"

    transfer_id: str
    cause_type: CauseType
    cause_id: str


class TransferPosted(LedgerEvent):
    """A transfer is recorded."""

    type: ClassVar[str] = "lastro.ledger.transfer_posted.v1"

    legs: tuple[PostedLeg, ...]
    recorded_at: str
    payment_id: str | None
    description: str | None


class TransferRefused(LedgerEvent):
    """A transfer will never be recorded."""

    type: ClassVar[str] = "lastro.ledger.transfer_refused.v1"

    failure: Failure
