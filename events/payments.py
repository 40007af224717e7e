"""Facts about payments."""

from typing import ClassVar, Literal

from events import topics
from events.failure import Failure
from shared.envelope import Event
from shared.money import Money


class PaymentEvent(Event):
    """What every fact about a payment carries."""

    topic: ClassVar[str] = topics.PAYMENTS
    subject_field: ClassVar[str] = "payment_id"

    payment_id: str
    amount: Money
    payer_account_id: str
    payee_account_id: str


class PaymentCreated(PaymentEvent):
    """A payment was asked for; its funds are not held yet."""

    type: ClassVar[str] = "lastro.payment.created.v1"

    method: str
    capture: Literal["automatic", "manual"]
    expires_at: str
    attempt: int = 1


class PaymentAuthorized(PaymentEvent):
    """The payer's funds are held for the payment."""

    type: ClassVar[str] = "lastro.payment.authorized.v1"
    terminal: ClassVar[bool] = True

    expires_at: str


class PaymentDeclined(PaymentEvent):
    """The payment cannot be paid; nothing is held."""

    type: ClassVar[str] = "lastro.payment.declined.v1"
    terminal: ClassVar[bool] = True

    failure: Failure


class PaymentCaptureRequested(PaymentEvent):
    """The ledger is to move `capture_amount`. It may refuse once `deadline` has passed, never before."""

    type: ClassVar[str] = "lastro.payment.capture_requested.v1"

    transfer_id: str
    capture_amount: Money
    description: str | None
    deadline: str
    attempt: int = 1


class PaymentSettled(PaymentEvent):
    """The ledger has the payment."""

    type: ClassVar[str] = "lastro.payment.settled.v1"
    terminal: ClassVar[bool] = True

    amount_captured: Money
    transfer_id: str


class PaymentFailed(PaymentEvent):
    """The payment came to nothing; what was held for it is to be released."""

    type: ClassVar[str] = "lastro.payment.failed.v1"

    failure: Failure


class PaymentCanceled(PaymentEvent):
    """The payment was called off before capture; what was held for it is to be released."""

    type: ClassVar[str] = "lastro.payment.canceled.v1"

    reason: str | None


class PaymentExpired(PaymentEvent):
    """The authorization ran out before capture; what was held for it is to be released."""

    type: ClassVar[str] = "lastro.payment.expired.v1"
