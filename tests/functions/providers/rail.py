"""A provider for tests: it records the requested charges and reports the payments that a test defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from shared.adapters.pix.br_code import dynamic_code, fitted_name, static_code
from shared.adapters.pix.formats import format_amount
from shared.adapters.pix.payments import PixPayments
from shared.adapters.pix.rail import PixHttpRail, read_payments
from shared.adapters.providers import callback_signature as provider_signature
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.ledger import Cause, Direction, LedgerStore, Leg, Transfer
from shared.ports.rail import (
    ChargeOrder,
    ChargeRevision,
    ChargeState,
    OutcomeUnknown,
    PayableCharge,
    RailRefused,
    ReceiptPage,
    ReturnOrder,
    ReturnState,
    StaticCodeOrder,
    callback_secret_name,
)
from shared.ports.rail_payments import RailOrder, RailPaymentStatus, RailReport, RailReturn
from shared.records.system_accounts import clearing_account, system_account
from tests.harness import Answer, Harness

SECRET = b"the secret of a provider"
OTHER_END_TO_END = "E99999004202601010000bbbbbbbbbbb"
END_TO_END = "E99999004202601010000aaaaaaaaaaa"
PATH = "/v1/providers/pix/callbacks"


class RecordingRail(PixHttpRail):
    """A PIX rail that records the requested charges. `outcome` is raised when it is set."""

    def __init__(self) -> None:
        super().__init__("")
        self.requested: list[tuple[str, int, str, str]] = []
        self.orders: list[ChargeOrder] = []
        self.outcome: Unavailable | RailRefused | None = None
        self.unreported: list[dict[str, Any]] = []
        """The payments that the provider lists. With one, the rail counts as configured."""
        self.removed: set[str] = set()
        self.static_codes: list[StaticCodeOrder] = []
        self.revisions: list[ChargeRevision] = []
        self.returns: list[ReturnOrder] = []
        self.decisions: list[tuple[str, bool, str | None]] = []
        """The decisions on reports of fraud."""
        self.return_answer: ReturnState | Unavailable | RailRefused | None = None
        """What the provider answers to a return and to a question for its state; None: it is in progress."""
        self.periods: list[tuple[datetime, datetime]] = []
        """The periods for which payments were listed."""

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        self.requested.append((reference, amount, currency, callback_url))
        if self.outcome is not None:
            raise self.outcome

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        self.orders.append(order)
        if self.outcome is not None:
            raise self.outcome
        location = f"pix.example.test/qr/{order.reference[:22]}"
        return PayableCharge(dynamic_code(location, "Lastro", "SAO PAULO"), location, {})

    async def static_code(self, order: StaticCodeOrder) -> str:
        self.static_codes.append(order)
        if self.outcome is not None:
            raise self.outcome
        return static_code(PAID_KEY, fitted_name(order.name), "SAO PAULO", amount=order.amount, txid=order.reference)

    async def revise_charge(self, revision: ChargeRevision) -> None:
        self.revisions.append(revision)
        if self.outcome is not None:
            raise self.outcome

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        self.removed.add(reference)
        if self.outcome is not None:
            raise self.outcome

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        self.returns.append(order)
        if isinstance(self.return_answer, Exception):
            raise self.return_answer
        return self.return_answer or ReturnState(order.reference, "processing", None, order.amount, None)

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        del payment_id
        if isinstance(self.return_answer, Exception):
            raise self.return_answer
        if reference not in [order.reference for order in self.returns]:
            return None
        return self.return_answer or ReturnState(reference, "processing", None, 1, None)

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        self.decisions.append((report_id, is_accepted, reason))
        if self.outcome is not None:
            raise self.outcome

    @property
    def is_configured(self) -> bool:
        return bool(self.unreported or self.removed or self.outcome)

    async def charge_state(self, reference: str, *, is_due: bool = False) -> ChargeState | None:
        if self.outcome is not None:
            raise self.outcome
        found = [one for one in self.unreported if one["txid"] == reference]
        return ChargeState(reference in self.removed, read_payments(found))

    async def received(self, since: datetime, until: datetime, page: int) -> ReceiptPage:
        """List one payment on each page."""
        if not page:
            self.periods.append((since, until))
        if self.outcome is not None:
            raise self.outcome
        first, last = format_time(since), format_time(until)
        found = [one for one in read_payments(self.unreported) if first <= (one.paid_at or "") <= last]
        return ReceiptPage(found[page : page + 1], page + 1 < len(found))


async def with_rail(harness: Harness) -> RecordingRail:
    """Give the harness a rail and the secret that its provider signs with."""
    rail = RecordingRail()
    harness.runtime.rails["pix"] = rail
    await harness.runtime.secrets.put(callback_secret_name("pix"), SECRET)
    return rail


async def deposit(harness: Harness, account_id: str, value: int = 1050) -> Any:
    """Request a deposit; the published events are not delivered."""
    body = {"account_id": account_id, "amount": {"value": value, "currency": "BRL"}, "method": "pix"}
    answer = await harness.call("POST", "/v1/deposits", body)
    assert answer.status == 201, answer.body
    return answer.json


def report(txid: str | None, value: int = 1050, end_to_end_id: str = END_TO_END, **more: Any) -> dict[str, Any]:
    """Return a provider's report of one payment."""
    report = {
        "endToEndId": end_to_end_id,
        "txid": txid,
        "valor": format_amount(value),
        "horario": "2026-01-01T00:00:00.000Z",
        **more,
    }
    return {name: value for name, value in report.items() if value is not None}


async def callback(
    harness: Harness,
    *reports: Any,
    secret: bytes = SECRET,
    path: str = PATH,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Report payments as the provider, signed now; `headers` come last."""
    raw = orjson.dumps({"pix": list(reports)}) if body is None else body
    signed = provider_signature.sign(secret, raw, harness.clock.now())
    return await harness.call("POST", path, raw, headers={**signed, **(headers or {})})


OPEN_MOVEMENTS = ["ltr_019b76daa80070009999999999900001.0", "ltr_019b76daa80070009999999999900002.0"]
"""The ids of the movements that `move_to_and_fro` makes."""


async def move_to_and_fro(ledger: LedgerStore, tenant_id: str, at: str) -> None:
    """Record an amount that went to PIX's clearing account and back: two movements that no provider reports, and that
    an operator can match."""
    clearing, suspense = clearing_account("pix", "BRL"), system_account("suspense", "BRL")
    sides: tuple[tuple[Direction, Direction], ...] = (("debit", "credit"), ("credit", "debit"))
    for movement, (direction, opposite) in zip(OPEN_MOVEMENTS, sides, strict=True):
        id = movement.partition(".")[0]
        legs = (Leg(clearing, direction, 250, "BRL"), Leg(suspense, opposite, 250, "BRL"))
        await ledger.append(Transfer(tenant_id, id, Cause("deposit", id.replace("ltr", "dep")), legs), at)


PAID_KEY = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"


class RecordingPayments(PixPayments):
    """Payments out by PIX at a provider that records the orders, and knows what a test says.

    `error` is raised when it is set. With `loses_answers` an order arrives and its answer is lost.
    """

    def __init__(self) -> None:
        super().__init__("99999004", PAID_KEY, self._no_request, self._no_request, is_configured=False)
        self.orders: list[RailOrder] = []
        self.known: dict[str, RailReport] = {}
        self.asked: list[str] = []
        self.error: Unavailable | RailRefused | None = None
        self.loses_answers = False
        self.missing: set[str] = set()
        """Keys that the directory does not have."""
        self.looked_up: list[str] = []
        self.answers: RailPaymentStatus = "processing"
        self.listed: list[RailReport] = []
        """The payments that the provider lists as returned. It is asked for them when `is_configured` is set."""
        self.periods: list[tuple[datetime, datetime]] = []
        """The periods for which they were listed."""

    @staticmethod
    async def _no_request(*_: object) -> Any:
        raise AssertionError("the recording provider is not reached over HTTP")

    async def send(self, order: RailOrder) -> RailReport:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        found = self.known.setdefault(order.reference, sent_report(order.reference, order.amount, self.answers))
        if self.loses_answers:
            raise OutcomeUnknown("the answer is lost")
        return found

    async def look_up(self, receiver: Mapping[str, str], payer: str) -> bool:
        del payer
        if isinstance(self.error, Unavailable):
            raise self.error
        self.looked_up.append(receiver["key"])
        return receiver["key"] not in self.missing

    async def state(self, reference: str) -> RailReport | None:
        self.asked.append(reference)
        if isinstance(self.error, Unavailable):
            raise self.error
        return self.known.get(reference)

    async def changed(self, since: datetime, until: datetime, page: int) -> tuple[Sequence[RailReport], bool]:
        """List one payment on each page."""
        if not page:
            self.periods.append((since, until))
        if isinstance(self.error, Unavailable):
            raise self.error
        found = [one for one in self.listed if format_time(since) <= (one.at or "") <= format_time(until)]
        return found[page : page + 1], page + 1 < len(found)

    def decide(self, status: RailPaymentStatus, amount: int | None = None) -> RailReport:
        """Let the provider decide on the last order, and return its report."""
        last = self.orders[-1]
        self.known[last.reference] = found = sent_report(last.reference, amount or last.amount, status)
        return found


def sent_return(number: int, amount: int, **more: Any) -> RailReturn:
    """Return the return of a payment out, or of a part of it, with a RtrId of this number."""
    id = f"D12345678202601010000{number:011d}"
    report = {"rtrId": id, "valor": format_amount(amount), "status": "DEVOLVIDO", "natureza": "ORIGINAL", **more}
    return RailReturn(id, amount, "MD06", report)


def sent_report(reference: str, amount: int, status: RailPaymentStatus) -> RailReport:
    """Return what a provider knows of a payment out."""
    refusal = ("AB03", "The receiver's bank did not answer.") if status == "refused" else ("", "")
    return RailReport(reference, status, amount, *refusal, "2026-01-01T00:00:00.000000Z", {"endToEndId": reference})


async def with_payments(harness: Harness, secret: bytes = SECRET) -> RecordingPayments:
    """Give the harness a provider of payments out by PIX, and the secret that it signs with."""
    payments = RecordingPayments()
    harness.runtime.payment_rails["pix"] = payments
    await harness.runtime.secrets.put(callback_secret_name("pix"), secret)
    return payments


_SENT_STATUSES = {"processing": "EM_PROCESSAMENTO", "settled": "REALIZADO", "refused": "NAO_REALIZADO"}


async def payment_callback(harness: Harness, *reports: RailReport, secret: bytes = SECRET) -> Answer:
    """Report payments out as the provider, signed now."""
    values = [
        {
            "endToEndId": found.reference,
            "valor": format_amount(found.amount),
            "status": _SENT_STATUSES[found.status],
            "horario": "2026-01-01T00:00:00.000Z",
            "favorecido": {"chave": PAID_KEY},
            **({"codigo": found.code, "motivo": found.detail} if found.code else {}),
            **({"devolucoes": [one.report for one in found.returns]} if found.returns else {}),
        }
        for found in reports
    ]
    return await callback(harness, secret=secret, body=orjson.dumps({"pixEnviados": values}))


async def pay_out(harness: Harness, payer: str, value: int = 1050, **fields: Any) -> Any:
    """Create a payment by PIX to a key; the published events are not delivered."""
    body = {
        "amount": {"value": value, "currency": "BRL"},
        "method": "pix",
        "payer_account_id": payer,
        "pix": {"key": PAID_KEY},
        **fields,
    }
    answer = await harness.call("POST", "/v1/payments", body)
    assert answer.status == 201, answer.body
    return answer.json


MED_PATH = "/v1/providers/pix/callbacks/med"
REPORT_ID = "6a0b0b3c-3d6c-4b1f-8a52-9f0d3c6a1e11"


async def report_fraud(
    harness: Harness, paid: dict[str, Any], value: int, *, secret: bytes = SECRET, **more: Any
) -> Answer:
    """Report a reported payment as a fraud, as the provider."""
    one = {
        "id": REPORT_ID,
        "endToEndId": paid["endToEndId"],
        "txid": paid.get("txid"),
        "valor": format_amount(value),
        "status": "OPEN",
        "reportDetails": "The payer did not make this payment.",
        **more,
    }
    body = orjson.dumps({"infractionReports": [one]})
    return await callback(harness, secret=secret, path=MED_PATH, body=body)
