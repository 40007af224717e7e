"""What schedules send, and what the sweeps that they start find."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event


class Tick(Event):
    """A schedule's turn (Knative PingSource); its data is what the manifest says."""

    type: ClassVar[str] = "dev.knative.sources.ping"
    topic: ClassVar[str] = ""
    subject_field: ClassVar[str] = "schedule"

    schedule: str = ""


class SagaOverdue(Event):
    """A payment, refund or deposit has not got on since its deadline (also extension attribute `causetype`); its
    owner drives it forward or compensates. `step` is the status that it was found in, `attempt` that step's number."""

    type: ClassVar[str] = "lastro.saga.overdue.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "saga_id"

    saga_id: str
    saga_type: Literal["payment", "refund", "deposit"]
    step: str
    attempt: int


class HoldExpired(Event):
    """The time for which an amount was set aside has passed; it stays held until its payment decides.

    A sweep of operations finds it and tells it, on the topic of its own domain.
    """

    type: ClassVar[str] = "lastro.account.hold_expired.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "account_id"

    account_id: str
    hold_id: str
    payment_id: str
    expires_at: str
