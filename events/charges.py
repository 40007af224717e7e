"""Facts about charges that rails report."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money


class ChargePaid(Event):
    """The PIX rail reports that a charge was paid. The ledger is to record a transfer from the rail's clearing
    account."""

    type: ClassVar[str] = "lastro.pix.charge_paid.v1"
    topic: ClassVar[str] = topics.PROVIDERS
    subject_field: ClassVar[str] = "charge_id"

    charge_id: str
    deposit_id: str
    account_id: str
    amount: Money
    end_to_end_id: str
    transfer_id: str
    clearing_account_id: str
