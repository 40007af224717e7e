"""Facts about returns of received payments, on the topic of providers."""

from typing import ClassVar, Literal

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class ReturnEvent(Event):
    """The fields of every fact about a return. `account_id` is the account that received the payment."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "return_id"

    return_id: str
    deposit_id: str
    account_id: str
    amount: Money
    clearing_account_id: str


class ReturnCreated(ReturnEvent):
    """A return was requested; its amount is not held yet. `attempt` counts from 1.

    With the nature `fraud`, as much of the amount as the account has is to be held, also on a blocked account.
    """

    type: ClassVar[str] = "lastro.pix.return_created.v1"

    nature: Literal["requested", "fraud"] = "requested"
    attempt: int = 1


class ReturnConfirmed(ReturnEvent):
    """The PIX rail reports that it has returned the money. The ledger is to record a transfer to the rail's clearing
    account."""

    type: ClassVar[str] = "lastro.pix.return_confirmed.v1"

    transfer_id: str


class ReturnSettled(ReturnEvent):
    """The ledger has recorded the return's transfer."""

    type: ClassVar[str] = "lastro.pix.return_settled.v1"
    terminal: ClassVar[bool] = True

    transfer_id: str


class ReturnFailed(ReturnEvent):
    """The return failed; the amount that is held for it is to be released."""

    type: ClassVar[str] = "lastro.pix.return_failed.v1"

    failure: Failure
