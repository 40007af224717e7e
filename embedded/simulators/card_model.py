"""What a simulated card gateway knows: its payments, their events, and the requests that it understands."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from shared.adapters.card.formats import CURRENCY, MAX_AMOUNT

Action = Literal["authorization", "capture", "refund", "cancel"]
ReportFault = Literal["late", "twice", "never", "wrong_amount", "out_of_order"]
"""A fault of one action: of its callback, or `wrong_amount` of the amount that a capture moves."""
RequestFault = Literal["500", "cut"]
"""A fault of one request: refused without an effect; or processed, and the connection cut before the answer."""

LATE_SECONDS: Final = 5.0
MAX_PAYMENTS: Final = 10_000
MAX_FAULTS: Final = 1_000

APPROVED: Final = "tok_approve"
PENDING: Final = "tok_pending"
"""The issuer answers after the gateway has answered."""
CAPTURE_FAILS: Final = "tok_capture_fails"
REFUND_FAILS: Final = "tok_refund_fails"
DECLINES: Final[Mapping[str, str]] = {
    f"tok_{code}": code
    for code in (
        "insufficient_funds",
        "limit_exceeded",
        "expired_card",
        "lost_card",
        "stolen_card",
        "do_not_honor",
        "suspected_fraud",
        "invalid_security_code",
    )
}
"""The reason for which a payment with this test token is declined."""
TOKENS: Final = frozenset({APPROVED, PENDING, CAPTURE_FAILS, REFUND_FAILS, *DECLINES})
_Reference = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
_Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT, strict=True)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthorizationRequest(_Request):
    """The body of `POST /v1/payments`."""

    reference: _Reference
    amount: _Amount
    currency: Literal["BRL"] = CURRENCY
    token: Annotated[str, Field(max_length=128)]
    callback_url: Annotated[str, Field(max_length=2048, pattern=r"^https?://")]
    description: Annotated[str, Field(max_length=140)] | None = None

    @property
    def kind(self) -> str:
        """The name of the test token: what stands before the first dash."""
        return self.token.partition("-")[0]


class MovementRequest(_Request):
    """The body of a capture or a refund."""

    reference: _Reference
    amount: _Amount


class CardFaultOrder(_Request):
    """A fault for one action of a payment, or for the next one that fits. `seconds` is the delay of the fault `late`.

    The faults `500` and `cut` concern the next request of the gateway's API.
    """

    fault: ReportFault | RequestFault
    reference: _Reference | None = None
    action: Action | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)


class ActionFault(NamedTuple):
    """The fault of one action, or None, and the delay of the fault `late` in seconds."""

    name: str | None
    seconds: float


NO_FAULT: Final = ActionFault(None, 0)


@dataclass(slots=True)
class SimulatedCardPayment:
    """A card payment. Captures and refunds are kept as the API shows them."""

    id: str
    reference: str
    token: str
    amount: int
    currency: str
    status: str
    created_at: str
    authorized_until: str | None
    callback_url: str
    description: str | None = None
    decline_code: str | None = None
    capture: dict[str, Any] | None = None
    refunds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def captured(self) -> int:
        """The amount that was captured."""
        if self.capture is None or self.capture["status"] != "succeeded":
            return 0
        return int(self.capture["amount"])

    @property
    def refundable(self) -> int:
        """What is left of the captured amount."""
        return self.captured - sum(int(refund["amount"]) for refund in self.refunds if refund["status"] != "failed")

    def shown(self) -> dict[str, Any]:
        """Return the payment as the API and the callbacks show it."""
        document = {
            "id": self.id,
            "reference": self.reference,
            "status": self.status,
            "amount": self.amount,
            "currency": self.currency,
            "description": self.description,
            "decline_code": self.decline_code,
            "authorized_until": self.authorized_until,
            "capture": None if self.capture is None else dict(self.capture),
            "refunds": [dict(refund) for refund in self.refunds],
            "created_at": self.created_at,
            "card": {"brand": "visa", "last_four": "1111"},
        }
        return {name: value for name, value in document.items() if value is not None}


@dataclass(slots=True)
class SimulatedCardEvent:
    """Something that happened to a payment, and the state of its callback."""

    id: str
    type: str
    url: str
    payment: dict[str, Any]
    fault: str | None = None
    seconds: float = 0.0
    told: bool = False

    @property
    def name(self) -> str:
        """The event's id, for the log."""
        return self.id

    def body(self) -> dict[str, Any]:
        """Return the body of the callback."""
        return {"id": self.id, "type": self.type, "payment": self.payment}


@dataclass(slots=True)
class SettlementEntry:
    """A line of the settlement report."""

    id: str
    type: str
    payment_reference: str
    reference: str
    amount: int
    settled_at: str


@dataclass(slots=True)
class CardState:
    """Everything that the gateway knows. The oldest payments, events and lines are forgotten at MAX_PAYMENTS."""

    payments: OrderedDict[str, SimulatedCardPayment] = field(default_factory=OrderedDict)
    references: dict[str, str] = field(default_factory=dict)
    """The gateway's id of a payment by our id of it."""
    events: OrderedDict[str, SimulatedCardEvent] = field(default_factory=OrderedDict)
    lines: OrderedDict[str, SettlementEntry] = field(default_factory=OrderedDict)
    keys: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """The request of each idempotency key."""
    faults: deque[CardFaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))
    request_faults: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))

    def add_payment(self, payment: SimulatedCardPayment) -> None:
        """Add a payment, or its new state."""
        self.payments[payment.id] = payment
        self.references[payment.reference] = payment.id
        while len(self.payments) > MAX_PAYMENTS:
            _, gone = self.payments.popitem(last=False)
            self.references.pop(gone.reference, None)

    def add_event(self, event: SimulatedCardEvent) -> None:
        """Add an event to be reported, and forget the oldest beyond the bound."""
        self.events[event.id] = event
        while len(self.events) > MAX_PAYMENTS:
            self.events.popitem(last=False)

    def add_line(self, line: SettlementEntry) -> None:
        """Add a line of the settlement report."""
        self.lines[line.id] = line
        while len(self.lines) > MAX_PAYMENTS:
            self.lines.popitem(last=False)

    def is_first_use(self, key: str, request: str) -> bool:
        """Return whether an idempotency key is new or was used for the same request."""
        known = self.keys.setdefault(key, request)
        while len(self.keys) > MAX_PAYMENTS:
            self.keys.popitem(last=False)
        return known == request

    def order(self, order: CardFaultOrder) -> None:
        """Store a fault until it is used."""
        if order.fault in ("500", "cut"):
            self.request_faults.append(order.fault)
        else:
            self.faults.append(order)

    def fault_of(self, reference: str, action: Action) -> ActionFault:
        """Return and remove the first fault that was ordered for this action of the payment, or for any."""
        for order in self.faults:
            if order.reference in (None, reference) and order.action in (None, action):
                self.faults.remove(order)
                return ActionFault(order.fault, order.seconds)
        return NO_FAULT


Record = SimulatedCardPayment | SimulatedCardEvent | SettlementEntry
_KINDS: Final[dict[str, type[Record]]] = {
    "card_payment": SimulatedCardPayment,
    "card_event": SimulatedCardEvent,
    "card_line": SettlementEntry,
}


def stored(record: Record) -> tuple[str, dict[str, Any]]:
    """Return the kind of a record and its fields, for the journal."""
    kind = next(kind for kind, made in _KINDS.items() if isinstance(record, made))
    return kind, {one.name: getattr(record, one.name) for one in fields(record)}


def restored(kind: str, document: Mapping[str, Any], state: CardState) -> None:
    """Add a record of the journal to the state."""
    made = _KINDS.get(kind)
    record = None if made is None else made(**document)
    if isinstance(record, SimulatedCardPayment):
        state.add_payment(record)
    elif isinstance(record, SimulatedCardEvent):
        state.add_event(record)
    elif isinstance(record, SettlementEntry):
        state.add_line(record)
