"""The port of payments over a rail: commands to move money at a provider, and the outcomes that it reports.

A rail has one adapter, in the registry `Runtime.payment_rails` under the name of the payment method. Nothing outside
the adapter knows the rail by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

from shared.ports.rail import RailRefused

if TYPE_CHECKING:
    from shared.ports.outgoing import Outgoing

RailPaymentStatus = Literal["processing", "settled", "refused", "returned"]
"""`processing`: the provider has the command. `settled`: the money has moved. `refused`: it has not, and will not.
`returned`: it has moved, and the receiver's provider has sent it back."""


class InvalidReceiver(ValueError):
    """The receiver of a payment cannot be read. `field` is its field, such as `key`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class ReceiverRefused(RailRefused):
    """A payment is not ordered because of its receiver. `code` is the failure reason of the payment."""


PROVIDER_REFUSED: Final = "provider_refused"
"""The failure reason of a payment that its provider has refused."""


class RailOrder(NamedTuple):
    """A payment to be made by a provider. The currency is the rail's own."""

    reference: str
    """Our id of the payment at the provider. The provider makes one payment for a reference, however often it is
    ordered."""
    amount: int
    """The amount in minor units."""
    receiver: Mapping[str, str]
    """Who is paid, in the fields that the rail's method has in `POST /v1/payments`."""
    description: str | None
    """A text for the receiver, or None. A rail may show only its beginning."""
    callback_url: str
    """The URL at which the provider reports the outcome."""


class RailReturn(NamedTuple):
    """A part of a payment, or all of it, that its receiver has sent back."""

    id: str
    """The provider's id of the return (PIX: the RtrId)."""
    amount: int
    """What came back, in minor units."""
    code: str
    """The rail's code of the reason."""
    report: dict[str, Any]
    """The report of the return, with personal data masked."""


class RailReport(NamedTuple):
    """What a provider says about a payment: in an answer, or in a callback."""

    reference: str
    status: RailPaymentStatus
    amount: int
    """What the provider moves or has moved, in minor units. It may differ from what was ordered."""
    code: str
    """The provider's own code of a refusal; otherwise empty."""
    detail: str
    """The provider's own text of a refusal; otherwise empty."""
    at: str | None
    """When the provider has moved the money (RFC 3339 in UTC, microseconds), or None."""
    report: dict[str, Any]
    """The whole report, with personal data masked."""
    reason: str = PROVIDER_REFUSED
    """The failure reason of a payment that is refused."""
    returns: Sequence[RailReturn] = ()
    """All returns of a settled payment so far, on a rail that returns it in parts. A payment on another rail comes back
    as a whole, with the status `returned`."""


class RailRules(Protocol):
    """What a rail accepts. The provider is not asked."""

    @property
    def title(self) -> str:
        """The rail's name in messages to people: `PIX`."""
        ...

    @property
    def currency(self) -> str:
        """The ISO 4217 code of the one currency that the rail moves."""
        ...

    @property
    def max_amount(self) -> int:
        """The greatest amount of one payment, in minor units."""
        ...

    def shown_receiver(self, receiver: Mapping[str, str], amount: int) -> dict[str, str]:
        """Check a receiver of a payment of `amount` minor units, and return its fields with personal data masked.

        Nothing is asked of the provider. Raises InvalidReceiver.
        """
        ...


class PaymentRail(RailRules, Protocol):
    """Payments over one rail, through the API of one provider."""

    def reference(self, tenant_id: str, payment_id: str, at: datetime) -> str:
        """Return the provider's reference of a payment that is first sent at `at`: always the same for the same
        arguments."""
        ...

    async def send(self, order: RailOrder) -> RailReport:
        """Order a payment. A repeated order of the same reference has no further effect and returns its state.

        Raises RailRefused when the provider refuses it permanently; Unavailable when it is not sent, and OutcomeUnknown
        when it may have been.
        """
        ...

    async def state(self, reference: str) -> RailReport | None:
        """Return what the provider knows of a payment, or None when it does not know the reference.

        Raises Unavailable when the provider does not answer, or refuses the question.
        """
        ...

    def read_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[RailReport] | None:
        """Authenticate a callback and read its reports of payments; None for a callback about something else.

        `headers` have lower-case names. A callback about something else is not authenticated. Raises Problem
        `missing_signature`, `invalid_signature`, `timestamp_out_of_window`, `malformed_request` or `validation_failed`.
        """
        ...


@runtime_checkable
class ListingRail(Protocol):
    """A rail whose provider lists the payments that it was ordered to make."""

    @property
    def is_configured(self) -> bool:
        """Whether there is a provider to ask."""
        ...

    @property
    def changes_for(self) -> timedelta:
        """For how long after the time by which the provider lists a payment it may change. Zero: the list is by the
        time of the last change."""
        ...

    async def changed(self, since: datetime, until: datetime, page: int) -> tuple[Sequence[RailReport], bool]:
        """Return a page (from 0) of the payments of a period that have changed, and whether there are more.

        Raises Unavailable when the provider does not answer, or refuses the question.
        """
        ...


@runtime_checkable
class DirectoryRail(Protocol):
    """A rail whose receivers are looked up before a payment is ordered. The look-ups of each user are limited."""

    async def read_terms(
        self, receiver: Mapping[str, str], amount: int, outgoing: Outgoing, now: datetime
    ) -> Mapping[str, str]:
        """Return the fields to look up and to order: those of a code whose terms are elsewhere are read there.

        Raises ReceiverRefused when the terms do not fit, and Unavailable when they cannot be read now.
        """
        ...

    async def look_up(self, receiver: Mapping[str, str], payer: str) -> bool:
        """Return whether the directory has the receiver. `payer` identifies the user who pays.

        Raises Unavailable when it is not known: the provider does not answer, or has too many look-ups.
        """
        ...
