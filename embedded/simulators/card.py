"""A simulated card gateway (docs/cards.md has its protocol).

| path | |
|---|---|
| POST, GET `/v1/payments` · GET `/v1/payments/{id}` | authorize; find by `?reference=`; read |
| POST `/v1/payments/{id}/captures` · `/refunds` · `/cancel` | capture, refund, give back an authorization |
| GET `/v1/settlements` | the settlement report |
| POST `/oauth/token` | an access token (client credentials), which the paths above need if a client is set |
| POST `/faults` | orders a fault |

A test token decides what the issuer answers. A capture and a refund are answered as `pending`; a callback reports their
outcome. Payments, and callbacks that are not accepted yet, survive the process in a journal.
"""

from __future__ import annotations

import asyncio
import string
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from embedded.simulators.access import ApiAccess, ApiClient
from embedded.simulators.answering import first_error, json_response
from embedded.simulators.callbacks import HttpPost, Post, Reporter, Sleep
from embedded.simulators.card_model import (
    CAPTURE_FAILS,
    DECLINES,
    MAX_PAYMENTS,
    PENDING,
    REFUND_FAILS,
    TOKENS,
    Action,
    ActionFault,
    AuthorizationRequest,
    CardFaultOrder,
    CardState,
    MovementRequest,
    Record,
    SettlementEntry,
    SimulatedCardEvent,
    SimulatedCardPayment,
    restored,
    stored,
)
from embedded.simulators.journal import ChargeJournal
from embedded.simulators.program import ConnectionCut
from embedded.simulators.routing import Answer, Routes
from shared.adapters.card.formats import MAX_AMOUNT
from shared.core.clock import Clock, format_time, parse_time
from shared.http.messages import HttpRequest, HttpResponse

PREFIX: Final = "/simulators/card"
PROVIDER: Final = "card"
AUTHORIZATION_DAYS: Final = 30
"""How long an authorization can be captured."""
_SCOPE: Final = "payments settlements"
_OPEN: Final = ("/oauth/token", "/faults")
"""Paths without an access token: the token's own, and of whoever controls the simulation."""
_ALPHANUMERIC: Final = string.ascii_lowercase + string.digits
_RECORDS_OF_A_PAYMENT: Final = 6


class CardSimulator:
    """A simulated card gateway. Call it with a request for a path under `prefix`.

    `journal` is the file that survives the process (None: everything is only in memory). With a `client`, the API needs
    an access token.
    """

    def __init__(
        self,
        secret: bytes,
        clock: Clock,
        random: Random,
        post: Post | None = None,
        journal: Path | None = None,
        sleep: Sleep = asyncio.sleep,
        *,
        prefix: str = PREFIX,
        client: ApiClient | None = None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._prefix = prefix
        self._access = ApiAccess(client, _SCOPE, clock, random)
        self._journal = ChargeJournal(journal, _RECORDS_OF_A_PAYMENT * MAX_PAYMENTS)
        self._state = CardState()
        self.reporter: Reporter[SimulatedCardEvent] = Reporter(
            secret, clock, post or HttpPost(), sleep, _callback, self._told
        )
        self._routes = self._all_routes()

    def _all_routes(self) -> Routes:
        answers: dict[str, dict[str, Answer]] = {
            r"/v1/(payments)": {"POST": self._authorize, "GET": self._find},
            r"/v1/payments/([^/]+)": {"GET": self._read},
            r"/v1/payments/([^/]+)/captures": {"POST": self._capture},
            r"/v1/payments/([^/]+)/refunds": {"POST": self._refund},
            r"/v1/payments/([^/]+)/cancel": {"POST": self._cancel},
            r"/v1/(settlements)": {"GET": self._settlements},
            r"/oauth/(token)": {"POST": self._access.issue},
            r"/(faults)": {"POST": self._order_fault},
        }
        return Routes(answers, self._prefix, _OPEN, self._api)

    def start(self) -> None:
        """Continue with the callbacks that were not accepted when the process ended. Needs a running event loop."""
        for kind, record in self._journal.load():
            restored(kind, record, self._state)
        for event in self._state.events.values():
            if not event.told and event.fault != "never":
                self.reporter.begin(event)

    async def close(self) -> None:
        """Stop sending callbacks. Those that are not accepted stay in the journal."""
        await self.reporter.close()
        self._journal.close()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path under the prefix. Raises Problem `method_not_allowed`, and ConnectionCut."""
        return await self._routes(request) or _refusal(404, "not_found", "There is nothing at this path.")

    async def _api(self, answer: Answer, name: str, request: HttpRequest) -> HttpResponse:
        """Answer a request of the gateway's API, with the fault that was ordered for it."""
        if not self._access.allows(request):
            return _refusal(401, "access_denied", "The access token is missing, invalid or expired.")
        fault = self._state.request_faults.popleft() if self._state.request_faults else None
        if fault == "500":
            return _refusal(500, "internal_error", "An error was ordered for this request.")
        if request.method == "POST":
            key = request.header("idempotency-key")
            if key is None:
                return _refusal(400, "missing_idempotency_key", "A command needs an Idempotency-Key.")
            digest = sha256(request.path.encode() + b"\n" + request.body).hexdigest()
            if not self._state.is_first_use(key, digest):
                return _refusal(422, "idempotency_key_reused", "The key was used for another command.")
        response = await answer(name, request)
        if fault == "cut":
            raise ConnectionCut("the answer to this request was ordered to be lost")
        return response

    # Commands

    async def _authorize(self, _name: str, request: HttpRequest) -> HttpResponse:
        try:
            wanted = AuthorizationRequest.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(400, "invalid_request", first_error(error))
        known = self._by_reference(wanted.reference)
        if known is not None:
            if (known.amount, known.token) != (wanted.amount, wanted.token):
                return _refusal(409, "reference_reused", "There is another payment with this reference.")
            return json_response(200, known.shown())
        if wanted.kind not in TOKENS:
            return _refusal(422, "invalid_token", "The token is unknown, or was used before.")
        now = self._clock.now()
        code = DECLINES.get(wanted.kind)
        payment = SimulatedCardPayment(
            id=f"gwp_{self._made(24)}",
            reference=wanted.reference,
            token=wanted.token,
            amount=wanted.amount,
            currency=wanted.currency,
            status="authorized" if code is None else "declined",
            created_at=format_time(now),
            authorized_until=format_time(now + timedelta(days=AUTHORIZATION_DAYS)) if code is None else None,
            callback_url=wanted.callback_url,
            description=wanted.description,
            decline_code=code,
        )
        answer = payment.shown()
        if wanted.kind == PENDING:
            answer["status"] = "pending"
            del answer["authorized_until"]
        await self._conclude(payment, "authorization", f"payment.{payment.status}")
        return json_response(201, answer)

    async def _capture(self, id: str, request: HttpRequest) -> HttpResponse:
        payment, wanted, refused = self._command(id, request)
        if payment is None or wanted is None:
            return refused
        known = payment.capture
        if known is not None and known["reference"] == wanted.reference:
            return json_response(200, payment.shown())
        if payment.status != "authorized" or known is not None:
            return _refusal(409, "not_capturable", f"The payment is {'captured' if known else payment.status}.")
        if wanted.amount > payment.amount:
            return _refusal(422, "amount_too_large", f"{payment.amount} are authorized.")
        fault = self._state.fault_of(payment.reference, "capture")
        payment.capture = {"reference": wanted.reference, "amount": wanted.amount, "status": "pending"}
        answer = payment.shown()
        if payment.token.startswith(CAPTURE_FAILS):
            payment.capture |= {"status": "failed", "code": "issuer_unavailable"}
        else:
            amount = wanted.amount % MAX_AMOUNT + 1 if fault.name == "wrong_amount" else wanted.amount
            payment.capture |= {"status": "succeeded", "amount": amount}
            self._settle("capture", payment, wanted.reference, amount)
        await self._conclude(payment, "capture", f"capture.{payment.capture['status']}", fault)
        return json_response(202, answer)

    async def _refund(self, id: str, request: HttpRequest) -> HttpResponse:
        payment, wanted, refused = self._command(id, request)
        if payment is None or wanted is None:
            return refused
        if any(refund["reference"] == wanted.reference for refund in payment.refunds):
            return json_response(200, payment.shown())
        if wanted.amount > payment.refundable:
            return _refusal(422, "amount_too_large", f"{payment.refundable} can be refunded.")
        fault = self._state.fault_of(payment.reference, "refund")
        refund: dict[str, Any] = {"reference": wanted.reference, "amount": wanted.amount, "status": "pending"}
        payment.refunds.append(refund)
        answer = payment.shown()
        if payment.token.startswith(REFUND_FAILS):
            refund |= {"status": "failed", "code": "card_closed"}
        else:
            amount = wanted.amount % MAX_AMOUNT + 1 if fault.name == "wrong_amount" else wanted.amount
            refund |= {"status": "succeeded", "amount": amount}
            self._settle("refund", payment, wanted.reference, -amount)
        await self._conclude(payment, "refund", f"refund.{refund['status']}", fault)
        return json_response(202, answer)

    async def _cancel(self, id: str, _request: HttpRequest) -> HttpResponse:
        payment = self._state.payments.get(id)
        if payment is None:
            return _refusal(404, "payment_not_found", "There is no payment with this id.")
        if payment.status == "canceled":
            return json_response(200, payment.shown())
        if payment.status != "authorized" or payment.capture is not None:
            return _refusal(409, "not_cancelable", "Only an authorized payment that is not captured can be canceled.")
        payment.status = "canceled"
        await self._conclude(payment, "cancel", "payment.canceled")
        return json_response(200, payment.shown())

    def _command(
        self, id: str, request: HttpRequest
    ) -> tuple[SimulatedCardPayment | None, MovementRequest | None, HttpResponse]:
        """Return the payment and the body of a command, or the refusal of it."""
        payment = self._state.payments.get(id)
        if payment is None:
            return None, None, _refusal(404, "payment_not_found", "There is no payment with this id.")
        self._expire(payment)
        try:
            return payment, MovementRequest.model_validate_json(request.body), HttpResponse(200, {}, b"")
        except ValidationError as error:
            return None, None, _refusal(400, "invalid_request", first_error(error))

    def _expire(self, payment: SimulatedCardPayment) -> None:
        """End an authorization whose time has passed."""
        until = payment.authorized_until
        is_over = until is not None and parse_time(until) <= self._clock.now()
        if is_over and payment.status == "authorized" and payment.capture is None:
            payment.status = "expired"
            self._store(payment)

    def _settle(self, kind: str, payment: SimulatedCardPayment, reference: str, amount: int) -> None:
        """Add a line to the settlement report."""
        settled_at = format_time(self._clock.now())
        line = SettlementEntry(f"set_{self._made(24)}", kind, payment.reference, reference, amount, settled_at)
        self._state.add_line(line)
        self._store(line)

    async def _conclude(
        self, payment: SimulatedCardPayment, action: Action, type: str, fault: ActionFault | None = None
    ) -> None:
        """Store the payment, and report what happened with the fault that was ordered."""
        self._state.add_payment(payment)
        self._store(payment)
        if fault is None:
            fault = self._state.fault_of(payment.reference, action)
        event = SimulatedCardEvent(
            f"gwe_{self._made(24)}", type, payment.callback_url, payment.shown(), fault.name, fault.seconds
        )
        self._state.add_event(event)
        self._store(event)
        if fault.name == "out_of_order":
            await self.reporter.at_once(event)
        else:
            self.reporter.begin(event)

    # Reading

    async def _find(self, _name: str, request: HttpRequest) -> HttpResponse:
        reference = dict(parse_qsl(request.query)).get("reference")
        if reference is None:
            return _refusal(400, "invalid_request", "Send the reference of a payment.")
        payment = self._by_reference(reference)
        return json_response(200, {"data": [] if payment is None else [payment.shown()]})

    async def _read(self, id: str, _request: HttpRequest) -> HttpResponse:
        payment = self._state.payments.get(id)
        if payment is None:
            return _refusal(404, "payment_not_found", "There is no payment with this id.")
        self._expire(payment)
        return json_response(200, payment.shown())

    def _by_reference(self, reference: str) -> SimulatedCardPayment | None:
        payment = self._state.payments.get(self._state.references.get(reference, ""))
        if payment is not None:
            self._expire(payment)
        return payment

    async def _settlements(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Return a page of what was settled from `from` to `to`, oldest first."""
        query = dict(parse_qsl(request.query))
        try:
            since, until = (format_time(parse_time(query[end])) for end in ("from", "to"))
            page, size = int(query.get("page", "0")), int(query.get("page_size", "100"))
        except (KeyError, ValueError, OverflowError):
            return _refusal(400, "invalid_request", "from and to are times; page and page_size are numbers.")
        if page < 0 or not 1 <= size <= 1000:
            return _refusal(400, "invalid_request", "A page has 1 to 1000 lines, and its number is not negative.")
        lines = [line for line in self._state.lines.values() if since <= line.settled_at < until]
        shown = [stored(line)[1] for line in lines[page * size : (page + 1) * size]]
        return json_response(200, {"data": shown, "has_more": len(lines) > (page + 1) * size})

    # Faults and the journal

    async def _order_fault(self, _name: str, request: HttpRequest) -> HttpResponse:
        try:
            order = CardFaultOrder.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(400, "invalid_request", first_error(error))
        self._state.order(order)
        return json_response(202, order.model_dump())

    def _told(self, event: SimulatedCardEvent) -> None:
        event.told = True
        self._store(event)

    def _store(self, record: Record) -> None:
        self._journal.append(*stored(record))

    def _made(self, length: int) -> str:
        return "".join(self._random.choices(_ALPHANUMERIC, k=length))


def _callback(event: SimulatedCardEvent) -> tuple[str | None, bytes]:
    return event.url, orjson.dumps(event.body())


def _refusal(status: int, code: str, detail: str) -> HttpResponse:
    return json_response(status, {"code": code, "detail": detail})
