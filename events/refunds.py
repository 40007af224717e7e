"""Facts about refunds, on the topic of payments."""

from typing import ClassVar

from events import topics
from events.failure import Failure
from shared.core.envelope import Event
from shared.core.money import Money


class RefundEvent(Event):
    """The fields of every fact about a refund. The payer of a refund is the payee of its payment."""

    topic: ClassVar[str] = topics.PAYMENTS
    subject_field: ClassVar[str] = "refund_id"

    refund_id: str
    payment_id: str
    amount: Money
    payer_account_id: str
    payee_account_id: str


class RefundCreated(RefundEvent):
    """A refund was requested; its amount is not held yet."""

    type: ClassVar[str] = "lastro.refund.created.v1"

    transfer_id: str
    deadline: str
    attempt: int = 1


class RefundPostingRequested(RefundEvent):
    """The refund's amount is held, and the ledger is to record its transfer.

    The ledger may refuse once `deadline` (RFC 3339, UTC) has passed, never before. `attempt` counts from 1. `excess` is
    what has come back from a provider in addition to the amount, and is the suspense account's.
    """

    type: ClassVar[str] = "lastro.refund.posting_requested.v1"

    transfer_id: str
    deadline: str
    attempt: int = 1
    excess: Money | None = None


class RefundSettled(RefundEvent):
    """The ledger has recorded the refund's transfer."""

    type: ClassVar[str] = "lastro.refund.settled.v1"

    transfer_id: str


class RefundFailed(RefundEvent):
    """The refund failed; the amount that is held for it is to be released."""

    type: ClassVar[str] = "lastro.refund.failed.v1"

    failure: Failure
