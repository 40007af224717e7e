"""Facts about deposits."""

from typing import ClassVar

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class DepositEvent(Event):
    """The fields of every fact about a deposit."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "deposit_id"

    deposit_id: str
    account_id: str
    amount: Money


class DepositCreated(DepositEvent):
    """A deposit was requested; the provider has not been called yet."""

    type: ClassVar[str] = "lastro.deposit.created.v1"

    method: str


class DepositSettled(DepositEvent):
    """The ledger has recorded the deposit's transfer."""

    type: ClassVar[str] = "lastro.deposit.settled.v1"

    transfer_id: str


class DepositFailed(DepositEvent):
    """The deposit failed."""

    type: ClassVar[str] = "lastro.deposit.failed.v1"
    terminal: ClassVar[bool] = True

    failure: Failure
