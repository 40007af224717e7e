"""The card gateway port: commands about card payments, what the gateway knows of them, and its callbacks.

The platform never has a card number. A payment is made with a token, which the gateway has given to the cardholder's
browser or application.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

from shared.ports.rail_payments import RailPaymentStatus, RailReport

AuthorizationStatus = Literal["pending", "authorized", "declined", "canceled", "expired"]
"""`pending`: the issuer has not answered. `canceled`: the authorization was given back. `expired`: it was not captured
in time."""
MovementStatus = Literal["pending", "succeeded", "failed"]
"""The status of a capture or a refund. `pending`: the gateway has accepted it and its outcome is not known yet."""


class AuthorizationOrder(NamedTuple):
    """An amount to be authorized on a card."""

    reference: str
    """Our id of the payment. It is also the idempotency key."""
    amount: int
    """The amount in minor units."""
    currency: str
    token: str
    """The gateway's token of the card."""
    description: str | None
    callback_url: str
    """The URL at which the gateway reports what happens to the payment."""


class CardMovement(NamedTuple):
    """A capture or a refund, as the gateway knows it."""

    reference: str
    """Our id of it."""
    amount: int
    """The amount that moved, or that is to move, in minor units."""
    status: MovementStatus
    code: str | None = None
    """The gateway's reason when the status is `failed`."""


class CardPayment(NamedTuple):
    """A card payment, as the gateway knows it."""

    id: str
    """The gateway's id of the payment."""
    reference: str
    """Our id of the payment."""
    status: AuthorizationStatus
    amount: int
    """The authorized amount in minor units."""
    currency: str
    decline_code: str | None
    """The issuer's or the gateway's reason when the status is `declined`."""
    authorized_until: str | None
    """Until when the amount can be captured (RFC 3339 in UTC, microseconds); None before the authorization."""
    capture: CardMovement | None
    """The capture of the payment. A payment is captured once, in whole or in part."""
    refunds: Sequence[CardMovement]
    report: dict[str, Any]
    """The gateway's JSON object of the payment, with personal data and card numbers masked."""


_CAPTURE_STATUSES: Final[Mapping[MovementStatus, RailPaymentStatus]] = {
    "pending": "processing",
    "succeeded": "settled",
    "failed": "refused",
}


def capture_report(payment: CardPayment) -> RailReport | None:
    """Return what the gateway says about the capture of a payment, or None when it has none."""
    capture = payment.capture
    if capture is None:
        return None
    status = _CAPTURE_STATUSES[capture.status]
    code = (capture.code or "unknown") if status == "refused" else ""
    detail = "The card gateway did not capture the payment." if status == "refused" else ""
    return RailReport(payment.reference, status, capture.amount, code, detail, None, payment.report)


class CardEvent(NamedTuple):
    """One callback of the gateway: something happened to a payment."""

    id: str
    """The gateway's id of the event. A repeated callback has the same."""
    type: str
    """What happened, such as `capture.succeeded`."""
    payment: CardPayment
    """The payment after the event. A callback that arrives late shows an older state."""


class SettlementLine(NamedTuple):
    """One line of the gateway's settlement report: money that it owes the tenant, or takes back."""

    id: str
    payment_reference: str
    """Our id of the payment."""
    reference: str
    """Our id of the capture or refund."""
    amount: int
    """The amount in minor units; negative for a refund."""
    settled_at: str
    """When the gateway booked it (RFC 3339 in UTC, microseconds)."""
    report: dict[str, Any]


class SettlementPage(NamedTuple):
    """One page of a settlement report."""

    lines: Sequence[SettlementLine]
    has_more: bool


class CardGateway(Protocol):
    """One card gateway, through its API.

    Every command has an id of ours, and a repeated command with the same id has no further effect. A command raises
    shared.ports.rail.RailRefused when the gateway refuses it, so that it had no effect; OutcomeUnknown when it may have
    had an effect; and shared.ports.documents.Unavailable when the gateway cannot be reached. The outcome is then found
    with `payment`.
    """

    @property
    def title(self) -> str:
        """The gateway's name in messages to people."""
        ...

    @property
    def currency(self) -> str:
        """The ISO 4217 code of the one currency that the gateway moves."""
        ...

    @property
    def max_amount(self) -> int:
        """The greatest amount of one payment, in minor units."""
        ...

    @property
    def is_configured(self) -> bool:
        """Whether there is a gateway to send commands to."""
        ...

    async def authorize(self, order: AuthorizationOrder) -> CardPayment:
        """Reserve an amount on a card. A payment that the issuer declines is returned as `declined`."""
        ...

    async def payment(self, reference: str) -> CardPayment | None:
        """Return what the gateway knows of the payment with our id, or None when it does not know it."""
        ...

    async def capture(self, payment_id: str, reference: str, amount: int) -> CardPayment:
        """Capture an authorized payment, in whole or in part. The rest of the authorization is given back.

        `payment_id` is the gateway's id of the payment, and `reference` our id of the capture.
        """
        ...

    async def cancel(self, payment_id: str, reference: str) -> CardPayment:
        """Give an authorization back (void). `reference` is our id of the payment."""
        ...

    async def refund(self, payment_id: str, reference: str, amount: int) -> CardPayment:
        """Return a captured amount, or a part of it, to the card. `reference` is our id of the refund."""
        ...

    async def settlements(self, since: datetime, until: datetime, page: int) -> SettlementPage:
        """Return a page (from 0) of the settlement report for the time from `since` to `until`."""
        ...

    def read_callback(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> CardEvent:
        """Authenticate a callback with the shared secret and read its event. `headers` have lower-case names.

        Raises Problem `missing_signature`, `invalid_signature`, `timestamp_out_of_window`, `malformed_request` or
        `validation_failed`.
        """
        ...
