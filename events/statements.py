"""Facts of the statements domain."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event
from shared.core.money import Money


class LineRecorded(Event):
    """A line was added to an account's statement."""

    type: ClassVar[str] = "lastro.statement.line_recorded.v1"
    topic: ClassVar[str] = topics.STATEMENTS
    subject_field: ClassVar[str] = "account_id"
    terminal: ClassVar[bool] = True

    account_id: str
    line_id: str
    direction: Literal["debit", "credit"]
    amount: Money
    balance_after: Money
    payment_id: str | None
