"""Facts of the providers domain: deposits, and what the PIX rail reports."""

from __future__ import annotations

from typing import ClassVar

from events.payments import Failure
from shared.envelope import Event
from shared.money import Money

TOPIC = "lastro.providers.v1"


class DepositEvent(Event):
    """What every fact about a deposit carries."""

    topic: ClassVar[str] = TOPIC
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


class ChargePaid(Event):
    """The PIX rail reports that a charge was paid; the ledger is to move the money in from the rail's clearing."""

    type: ClassVar[str] = "lastro.pix.charge_paid.v1"
    topic: ClassVar[str] = TOPIC
    subject_field: ClassVar[str] = "charge_id"

    charge_id: str
    deposit_id: str
    account_id: str
    amount: Money
    end_to_end_id: str
    transfer_id: str
    clearing_account_id: str
