"""Facts about deposits."""

from typing import ClassVar

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class DepositEvent(Event):
    """What every fact about a deposit carries."""

    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "deposit_id"

    deposit_id: str
    account_id: str
    amount: Money


class DepositCreated(DepositEvent):
    """A deposit was asked for; the provider has not been told yet."""

    type: ClassVar[str] = "lastro.deposit.created.v1"

    method: str


class DepositSettled(DepositEvent):
    """The ledger has the deposit."""

    type: ClassVar[str] = "lastro.deposit.settled.v1"
    terminal: ClassVar[bool] = True

    transfer_id: str


class DepositFailed(DepositEvent):
    """The deposit came to nothing."""

    type: ClassVar[str] = "lastro.deposit.failed.v1"
    terminal: ClassVar[bool] = True

    failure: Failure
