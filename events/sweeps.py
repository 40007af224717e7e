"""Ticks of schedules, and the facts that sweeps publish."""

from typing import ClassVar, Literal

from events import topics
from shared.core.envelope import Event


class Tick(Event):
    """A tick of a schedule (Knative PingSource). Its data is defined in the manifest."""

    type: ClassVar[str] = "dev.knative.sources.ping"
    topic: ClassVar[str] = ""
    subject_field: ClassVar[str] = "schedule"

    schedule: str = ""


class SagaOverdue(Event):
    """A payment, refund, deposit, return or client has exceeded the deadline of its step; its owner retries or
    compensates.

    `saga_type` is also the extension attribute `causetype`. `step` is the status in which it was found, `attempt` the
    number of the step's attempt."""

    type: ClassVar[str] = "lastro.saga.overdue.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "saga_id"

    saga_id: str
    saga_type: Literal["payment", "refund", "deposit", "return", "client"]
    step: str
    attempt: int


class HoldExpired(Event):
    """A hold has expired. The amount stays held until the payment decides.

    A sweep of the operations domain publishes it, on the topic of operations.
    """

    type: ClassVar[str] = "lastro.account.hold_expired.v1"
    topic: ClassVar[str] = topics.OPERATIONS
    subject_field: ClassVar[str] = "account_id"

    account_id: str
    hold_id: str
    payment_id: str
    expires_at: str
