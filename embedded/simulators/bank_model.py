"""What a simulated partner bank knows: its transfers, and the requests that it understands."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from shared.adapters.bank_transfer.rail import MAX_AMOUNT, MAX_DESCRIPTION
from shared.adapters.bank_transfer.reports import REFERENCE_PATTERN

Fault = Literal["late", "twice", "never", "wrong_amount", "out_of_order", "refused", "returned"]
"""A fault of one transfer: of its report; or the receiving bank refuses the transfer, or returns it."""
RequestFault = Literal["500", "cut"]
"""A fault of one request: refused without an effect; or processed, and the connection cut before the answer."""
_TRANSFER_FAULTS: Final[dict[str, Fault]] = {fault: fault for fault in get_args(Fault)}
Status = Literal["ACCEPTED", "SETTLED", "REJECTED", "RETURNED"]

CLOSED_ACCOUNT: Final = "AC04"
"""The reason of a refusal or a return when none is ordered: the account is closed (ISO 20022 external code)."""
LATE_SECONDS: Final = 5.0
MAX_TRANSFERS: Final = 10_000
MAX_FAULTS: Final = 1_000
Reason = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,8}$")]
Reference = Annotated[str, Field(pattern=REFERENCE_PATTERN)]


class _Money(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    value: int = Field(ge=1, le=MAX_AMOUNT)
    currency: Literal["BRL"]


class _Creditor(BaseModel):
    """The account that receives the money."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bank: str = Field(pattern=r"^([0-9]{3}|[0-9A-Z]{8})$")
    branch: str = Field(pattern=r"^[0-9]{1,5}$")
    number: str = Field(pattern=r"^[0-9]{1,12}-[0-9X]$")
    type: Literal["checking", "savings", "payment"]
    holder_name: str = Field(min_length=1, max_length=120)
    holder_document_type: Literal["cpf", "cnpj"]
    holder_document: str = Field(pattern=r"^([0-9]{11}|[0-9A-Z]{12}[0-9]{2})$")


class TransferRequest(BaseModel):
    """The body of `PUT /transfers/{reference}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    amount: _Money
    creditor: _Creditor
    callback_url: str = Field(pattern=r"^https?://", max_length=2048)
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION)] | None = None


class FaultOrder(BaseModel):
    """A fault for one transfer, or without `reference` for the next new one.

    `seconds` is the delay of the fault `late`, and `reason` the code of the faults `refused` and `returned`. The faults
    `500` and `cut` concern the next request of the bank's API.
    """

    model_config = ConfigDict(extra="forbid")

    fault: Fault | RequestFault
    reference: Reference | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)
    reason: Reason = CLOSED_ACCOUNT

    @property
    def transfer_fault(self) -> Fault | None:
        """The fault if it concerns a transfer, else None."""
        return _TRANSFER_FAULTS.get(self.fault)


class ReturnOrder(BaseModel):
    """The receiving bank sends the money of a settled transfer back."""

    model_config = ConfigDict(extra="forbid")

    reference: Reference
    reason: Reason = CLOSED_ACCOUNT


@dataclass(slots=True)
class SimulatedTransfer:
    """A transfer of the partner bank. `order` is the body that ordered it; `amount` is what was moved, in centavos."""

    reference: str
    id: str
    order: dict[str, Any]
    amount: int
    status: Status
    created_at: str
    updated_at: str
    reason: str | None = None
    fault: Fault | None = None
    seconds: float = 0.0
    told: bool = False
    """Whether the platform has accepted the report of the status."""

    def shown(self) -> dict[str, Any]:
        """Return the transfer as the API and the callbacks show it."""
        document = {
            "id": self.id,
            "reference": self.reference,
            "status": self.status,
            "amount": {"value": self.amount, "currency": "BRL"},
            "creditor": self.order["creditor"],
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        return document if self.reason is None else {**document, "reason": self.reason}


class StatusReport(NamedTuple):
    """The report of one status of a transfer, with the fault of its delivery."""

    reference: str
    url: str
    document: dict[str, Any]
    """The transfer as it was when it got the status."""
    fault: str | None
    seconds: float

    @property
    def name(self) -> str:
        """The transfer's reference, for the log."""
        return self.reference


@dataclass(slots=True)
class State:
    """Everything that the bank knows. The oldest transfers that are over are forgotten at MAX_TRANSFERS."""

    transfers: OrderedDict[str, SimulatedTransfer] = field(default_factory=OrderedDict)
    faults: OrderedDict[str, FaultOrder] = field(default_factory=OrderedDict)
    next_faults: deque[FaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))
    request_faults: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))

    def add(self, transfer: SimulatedTransfer) -> None:
        """Add a transfer, and forget the oldest one that is over and reported when there are too many."""
        self.transfers[transfer.reference] = transfer
        while len(self.transfers) > MAX_TRANSFERS:
            over = (one.reference for one in self.transfers.values() if one.status != "ACCEPTED" and one.told)
            del self.transfers[next(over, None) or next(iter(self.transfers))]

    def fault_of(self, reference: str) -> FaultOrder | None:
        """Return and remove the fault that was ordered for this transfer, or for the next one."""
        return self.faults.pop(reference, None) or (self.next_faults.popleft() if self.next_faults else None)

    def order(self, order: FaultOrder) -> None:
        """Store a fault until it is used."""
        if order.fault in ("500", "cut"):
            self.request_faults.append(order.fault)
        elif order.reference is None:
            self.next_faults.append(order)
        else:
            self.faults[order.reference] = order
            if len(self.faults) > MAX_FAULTS:
                self.faults.popitem(last=False)


def restored(kind: str, record: Mapping[str, Any], state: State) -> None:
    """Add a record of the journal to the state."""
    if kind == "transfer":
        state.add(SimulatedTransfer(**record))
