"""What a simulated PIX provider knows: its charges and payments, and the requests that it understands."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from shared.adapters.pix import formats as pix
from shared.adapters.pix.br_code import dynamic_code
from shared.adapters.pix.due_charges import read_charge
from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import format_time, parse_time
from shared.core.due_terms import DueTerms, last_day, payable
from shared.core.money import Amount

Fault = Literal["late", "twice", "never", "wrong_amount", "out_of_order"]
"""A fault of one payment's report."""
RequestFault = Literal["500", "cut"]
"""A fault of one request: refused without an effect; or processed, and the connection cut before the answer."""
_REPORT_FAULTS: Final[dict[str, Fault]] = {fault: fault for fault in get_args(Fault)}
Status = Literal["ATIVA", "CONCLUIDA", "REMOVIDA_PELO_USUARIO_RECEBEDOR"]
SentStatus = Literal["EM_PROCESSAMENTO", "REALIZADO", "NAO_REALIZADO"]

NAME: Final = "Lastro Pagamentos"
CITY: Final = "SAO PAULO"
RECEIVER: Final = {
    "nome": NAME,
    "cnpj": "12ABC34501DE35",
    "logradouro": "Rua do Simulador, 1",
    "cidade": "São Paulo",
    "uf": "SP",
    "cep": "01000000",
}
"""The receiver of every charge (`recebedor`)."""
LATE_SECONDS: Final = 5.0
MAX_CHARGES: Final = 10_000
MAX_FAULTS: Final = 1_000


class _Calendar(BaseModel):
    expiracao: int = Field(default=86_400, ge=1, le=2_147_483_647)


class _Value(BaseModel):
    original: Annotated[str, AfterValidator(pix.checked_amount)]


class _Note(BaseModel):
    nome: Annotated[str, Field(max_length=50)]
    valor: Annotated[str, Field(max_length=200)]


class ChargeRequest(BaseModel):
    """The fields of the body of `PUT /cob/{txid}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    calendario: _Calendar = _Calendar()
    valor: _Value
    chave: Annotated[str, Field(min_length=1, max_length=77)]
    solicitacaoPagador: Annotated[str, Field(max_length=140)] | None = None  # noqa: N815 - the rail's own name
    infoAdicionais: Annotated[list[_Note], Field(max_length=50)] = []  # noqa: N815 - as above

    @property
    def at_once(self) -> bool:
        """Whether the charge is one of a deposit, which the simulator pays immediately."""
        return pix.DEPOSIT_NOTE in [note.model_dump() for note in self.infoAdicionais]


class Revision(BaseModel):
    """The fields of the body of `PATCH /cob/{txid}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["REMOVIDA_PELO_USUARIO_RECEBEDOR"] | None = None
    calendario: _Calendar | None = None
    valor: _Value | None = None
    solicitacaoPagador: Annotated[str, Field(max_length=140)] | None = None  # noqa: N815 - the rail's own name


class _Party(BaseModel):
    chave: Annotated[str, Field(min_length=1, max_length=77)]


class SentOrder(BaseModel):
    """The fields of the body of `PUT /pix/enviados/{endToEndId}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    valor: Annotated[str, AfterValidator(pix.checked_amount)]
    pagador: _Party
    favorecido: _Party
    txid: Annotated[str, Field(pattern=r"^[a-zA-Z0-9]{1,35}$")] | None = None


class SentReturnOrder(BaseModel):
    """The receiver of a payment out returns it; without `valor`, all that is left of it."""

    model_config = ConfigDict(extra="forbid")

    endToEndId: Annotated[str, Field(pattern=pix.END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    valor: Annotated[str, AfterValidator(pix.checked_amount)] | None = None
    natureza: Literal["ORIGINAL", "RETIRADA", "MED_OPERACIONAL", "MED_FRAUDE"] = "ORIGINAL"
    fault: Literal["late", "twice", "never", "out_of_order"] | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)


class PaymentOrder(BaseModel):
    """A payment of a BR Code by a stranger. `amount` replaces the amount of the code."""

    model_config = ConfigDict(extra="forbid")

    br_code: Annotated[str, Field(min_length=1, max_length=512)]
    amount: Amount | None = None
    fault: Fault | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)


class FaultOrder(BaseModel):
    """A fault for one charge, or without `txid` for the next new one. `seconds` is the delay of the fault `late`.

    With `payments` = `sent` it is for the next payment that the platform orders, with `returned` for the next return.
    The faults `500` and `cut` concern the next request of the provider's API.
    """

    model_config = ConfigDict(extra="forbid")

    fault: Fault | RequestFault | Literal["refused"]
    payments: Literal["received", "sent", "returned"] = "received"
    txid: Annotated[str, Field(pattern=pix.TXID_PATTERN)] | None = None
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.payments == "received" and self.fault == "refused":
            raise ValueError("only what is sent can be refused: add `payments`: `sent` or `returned`")
        if self.payments != "received" and self.txid is not None:
            raise ValueError(f"a fault of a payment that is {self.payments} has no `txid`")
        if self.payments == "returned" and self.fault in ("500", "cut", "wrong_amount"):
            raise ValueError(f"{self.fault} is not a fault of a return")
        return self

    @property
    def report_fault(self) -> Fault | None:
        """The fault if it concerns the report of a payment, else None."""
        return _REPORT_FAULTS.get(self.fault)


class ReportFault(NamedTuple):
    """The fault of one payment's report, or None, and the delay of the fault `late` in seconds."""

    name: Fault | None
    seconds: float


NO_FAULT: Final = ReportFault(None, 0)


class DueDate(TypedDict):
    """What a charge with a due date has: its members `calendario`, `valor` and `devedor`, as they were sent."""

    calendario: dict[str, Any]
    valor: dict[str, Any]
    devedor: dict[str, Any]


@dataclass(slots=True)
class SimulatedCharge:
    """An immediate charge (`cob`), or one with a due date (`cobv`)."""

    txid: str
    original: str
    key: str
    created: str
    expires_in: int
    location: str
    webhook: str | None
    """The URL of the key's webhook when the charge was created."""
    note: str | None = None
    status: Status = "ATIVA"
    revision: int = 0
    due: DueDate | None = None

    @property
    def kind(self) -> Literal["cob", "cobv"]:
        """The kind of the charge in the API Pix."""
        return "cob" if self.due is None else "cobv"

    def terms(self) -> DueTerms:
        """Return the terms of a charge with a due date."""
        assert self.due is not None, "an immediate charge has no due date"
        return read_charge(self.due["calendario"], self.due["valor"])[1]

    def payable(self, day: date) -> str:
        """Return the amount to pay on a day in São Paulo, in the rail's text."""
        if self.due is None:
            return self.original
        return pix.format_amount(payable(pix.parse_amount(self.original), self.terms(), day).final)

    def has_expired(self, now: datetime) -> bool:
        """Return whether the charge is active and its time has passed."""
        if self.status != "ATIVA":
            return False
        if self.due is not None:
            return day_in_sao_paulo(now) > last_day(self.terms())
        return now >= parse_time(self.created) + timedelta(seconds=self.expires_in)

    def shown(self, status: Status | None = None) -> dict[str, Any]:
        """Return the charge as the API shows it; `status` replaces its own."""
        document = {
            "txid": self.txid,
            "revisao": self.revision,
            "status": status or self.status,
            "calendario": {"criacao": self.created, "expiracao": self.expires_in},
            "loc": {"location": self.location, "tipoCob": self.kind},
            "location": self.location,
            "valor": {"original": self.original},
            "chave": self.key,
            "pixCopiaECola": dynamic_code(self.location, NAME, CITY),
        }
        if self.due is not None:
            document["calendario"] = {"criacao": self.created, **self.due["calendario"]}
            document |= {"valor": self.due["valor"], "devedor": self.due["devedor"], "recebedor": RECEIVER}
        if self.note is not None:
            document["solicitacaoPagador"] = self.note
        return document

    def payload(self, now: datetime, day: date) -> dict[str, Any]:
        """Return the charge's terms for the payer's bank (Manual de Padrões para Iniciação do Pix), for a payment on a
        day in São Paulo."""
        document: dict[str, Any] = self.shown()
        del document["loc"], document["location"], document["pixCopiaECola"]
        document["calendario"] = {**document["calendario"], "apresentacao": format_time(now)}
        if self.due is not None:
            parts = payable(pix.parse_amount(self.original), self.terms(), day)
            amounts = {"multa": parts.fine, "juros": parts.interest, "abatimento": parts.rebate}
            amounts |= {"desconto": parts.discount, "final": parts.final}
            written = {name: pix.format_amount(amount) for name, amount in amounts.items() if amount}
            document["valor"] = {"original": self.original, **written}
        return document


@dataclass(slots=True)
class SimulatedPayment:
    """A payment that the provider has received, and the state of its report to the platform."""

    end_to_end_id: str
    txid: str | None
    key: str
    original: str
    paid_at: str
    webhook: str | None
    fault: Fault | None = None
    seconds: float = 0.0
    told: bool = False

    @property
    def name(self) -> str:
        """The payment's id, for the log."""
        return self.end_to_end_id

    def shown(self) -> dict[str, Any]:
        """Return the payment as the API and the callback show it."""
        document = {
            "endToEndId": self.end_to_end_id,
            "txid": self.txid,
            "chave": self.key,
            "valor": self.original,
            "horario": self.paid_at,
        }
        return {name: value for name, value in document.items() if value is not None}


@dataclass(slots=True)
class SentPayment:
    """A payment that the platform has ordered, and the state of its report to the platform."""

    end_to_end_id: str
    key: str
    """The payer's key, whose webhook is told."""
    receiver: str
    ordered: str
    moved: str
    """The amount that was moved: another than `ordered` after the fault `wrong_amount`."""
    status: SentStatus
    created: str
    webhook: str | None
    fault: Fault | None = None
    seconds: float = 0.0
    told: bool = False
    refusal: bool = False
    """Whether it ends as refused."""
    txid: str | None = None
    """The txid of the code that it pays."""
    returns: list[dict[str, Any]] = field(default_factory=list)
    """What its receiver has returned of it, as the API shows it."""

    @property
    def left(self) -> int:
        """What its receiver may return of it yet, in centavos."""
        return pix.parse_amount(self.moved) - sum(pix.parse_amount(one["valor"]) for one in self.returns)

    @property
    def name(self) -> str:
        """The payment's id, for the log."""
        return self.end_to_end_id

    def shown(self) -> dict[str, Any]:
        """Return the payment as the API and the callback show it."""
        document: dict[str, Any] = {
            "endToEndId": self.end_to_end_id,
            "valor": self.ordered if self.status == "EM_PROCESSAMENTO" else self.moved,
            "status": self.status,
            "horario": self.created,
            "pagador": {"chave": self.key},
            "favorecido": {"chave": self.receiver},
        }
        if self.status == "NAO_REALIZADO":
            document |= {"codigo": "AB03", "motivo": "The receiver's bank did not take the payment in time."}
        if self.returns:
            document["devolucoes"] = self.returns
        return document


@dataclass(slots=True)
class State:
    """Everything that the provider knows. The oldest charges and payments are forgotten at MAX_CHARGES."""

    charges: OrderedDict[str, SimulatedCharge] = field(default_factory=OrderedDict)
    payments: OrderedDict[str, SimulatedPayment] = field(default_factory=OrderedDict)
    locations: dict[str, str] = field(default_factory=dict)
    """The txid by the path of the location: the host is another one when the simulator is started on another port."""
    webhooks: dict[str, str] = field(default_factory=dict)
    faults: OrderedDict[str, FaultOrder] = field(default_factory=OrderedDict)
    next_faults: deque[FaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))
    request_faults: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))
    sent: OrderedDict[str, SentPayment] = field(default_factory=OrderedDict)
    sent_faults: deque[FaultOrder] = field(default_factory=lambda: deque(maxlen=MAX_FAULTS))

    def add_charge(self, charge: SimulatedCharge) -> None:
        """Add a charge, and forget the oldest one that is not active when there are too many."""
        self.charges[charge.txid] = charge
        self.locations[path_of(charge.location)] = charge.txid
        while len(self.charges) > MAX_CHARGES:
            oldest = next((txid for txid, found in self.charges.items() if found.status != "ATIVA"), None)
            gone = self.charges.pop(oldest or next(iter(self.charges)))
            self.locations.pop(path_of(gone.location), None)

    def add_payment(self, payment: SimulatedPayment) -> None:
        """Add a payment, and forget the oldest one that was reported when there are too many."""
        self.payments[payment.end_to_end_id] = payment
        while len(self.payments) > MAX_CHARGES:
            oldest = next((id for id, found in self.payments.items() if found.told), None)
            del self.payments[oldest or next(iter(self.payments))]

    def add_sent(self, payment: SentPayment) -> None:
        """Add a payment out, and forget the oldest one that was reported when there are too many."""
        self.sent[payment.end_to_end_id] = payment
        while len(self.sent) > MAX_CHARGES:
            oldest = next((id for id, found in self.sent.items() if found.told), None)
            del self.sent[oldest or next(iter(self.sent))]

    def fault_of(self, txid: str) -> ReportFault:
        """Return and remove the fault that was ordered for this charge, or for the next one."""
        order = self.faults.pop(txid, None) or (self.next_faults.popleft() if self.next_faults else None)
        return NO_FAULT if order is None else ReportFault(order.report_fault, order.seconds)

    def order(self, order: FaultOrder) -> None:
        """Store a fault until it is used."""
        if order.fault in ("500", "cut"):
            self.request_faults.append(order.fault)
        elif order.payments == "sent":
            self.sent_faults.append(order)
        elif order.txid is None:
            self.next_faults.append(order)
        else:
            self.faults[order.txid] = order
            if len(self.faults) > MAX_FAULTS:
                self.faults.popitem(last=False)


def path_of(location: str) -> str:
    """Return the path of a charge's location, without its host."""
    return f"/{location.partition('/')[2]}"


def restored(kind: str, record: Mapping[str, Any], state: State) -> None:
    """Add a record of the journal to the state."""
    if kind == "webhook":
        if record["url"]:
            state.webhooks[record["key"]] = record["url"]
        else:
            state.webhooks.pop(record["key"], None)
    elif kind == "payment":
        state.add_payment(SimulatedPayment(**record))
    elif kind == "sent":
        state.add_sent(SentPayment(**record))
    elif kind == "charge" and "location" in record:
        state.add_charge(SimulatedCharge(**record))
