"""Facts of the statements domain."""

from __future__ import annotations

from typing import ClassVar, Literal

from shared.envelope import Event
from shared.money import Money

TOPIC = "lastro.statements.v1"


class LineRecorded(Event):
    """A movement stands in an account's statement."""

    type: ClassVar[str] = "lastro.statement.line_recorded.v1"
    topic: ClassVar[str] = TOPIC
    subject_field: ClassVar[str] = "account_id"
    terminal: ClassVar[bool] = True

    account_id: str
    line_id: str
    direction: Literal["debit", "credit"]
    amount: Money
    balance_after: Money
    payment_id: str | None
