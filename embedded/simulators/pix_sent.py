"""Payments out of a simulated PIX provider: the platform orders them, and the provider makes and reports them. Their
receivers may return them, or parts of them, for 90 days."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from embedded.simulators.answering import first_error, json_response
from embedded.simulators.callbacks import Reporter, Sleep
from embedded.simulators.pix_answers import problem_answer
from embedded.simulators.pix_model import SentOrder, SentPayment, SentReturnOrder, State
from shared.adapters.pix import formats as pix
from shared.adapters.pix.keys import key_kind
from shared.adapters.pix.payments import RETURN_DAYS
from shared.core.clock import Clock, format_time, parse_time
from shared.http.messages import HttpRequest, HttpResponse

_INVALID: Final = "PixEnviadoInvalido"


class SentPayments:
    """The payments that the platform has ordered.

    `store` is called with each payment that has changed. An order is answered before its outcome, which is reported at
    once, or as the next fault says. `arrive` is called with each payment that was made: its receiver may be here too.
    `return_id` makes the RtrId of a return.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        reporter: Reporter[SentPayment],
        sleep: Sleep,
        store: Callable[[SentPayment], None],
        arrive: Callable[[SentPayment], Awaitable[None]],
        return_id: Callable[[], str],
    ) -> None:
        self._state = state
        self._clock = clock
        self._reporter = reporter
        self._sleep = sleep
        self._store = store
        self._arrive = arrive
        self._return_id = return_id

    def start(self) -> None:
        """Continue with what the previous process left. Needs a running event loop."""
        for payment in self._state.sent.values():
            if payment.status == "EM_PROCESSAMENTO":
                self._reporter.run(self._finish(payment))
            elif not payment.told and payment.fault != "never":
                self._reporter.begin(payment)

    async def put(self, end_to_end_id: str, request: HttpRequest) -> HttpResponse:
        """Order a payment. The same order again has no further effect."""
        if re.fullmatch(pix.END_TO_END_PATTERN, end_to_end_id) is None:
            return problem_answer(400, _INVALID, "An endToEndId has 32 letters and digits.")
        try:
            wanted = SentOrder.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, _INVALID, first_error(error))
        known = self._state.sent.get(end_to_end_id)
        if known is not None:
            if (known.ordered, known.receiver) != (wanted.valor, wanted.favorecido.chave):
                return problem_answer(409, _INVALID, "There is another payment of this endToEndId.")
            return json_response(200, known.shown())
        if key_kind(wanted.favorecido.chave) is None:
            return problem_answer(422, "ChaveInvalida", "The receiver's key has not the form of a PIX key.")
        payment = self._ordered(end_to_end_id, wanted)
        answer = payment.shown()
        await self._process(payment)
        return json_response(201, answer)

    async def get(self, end_to_end_id: str, _request: HttpRequest) -> HttpResponse:
        """Return a payment as it is now."""
        payment = self._state.sent.get(end_to_end_id)
        if payment is None:
            return problem_answer(404, "PixEnviadoNaoEncontrado", "There is no payment of this endToEndId.")
        return json_response(200, payment.shown())

    async def give_back(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Return a payment as its receiver's bank does, and answer 202 with the payment."""
        try:
            order = SentReturnOrder.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "SentReturnOrder", first_error(error))
        payment = self._state.sent.get(order.endToEndId)
        if payment is None:
            return problem_answer(422, "SentReturnOrder", "There is no payment of this endToEndId.")
        if payment.status != "REALIZADO":
            return problem_answer(422, "SentReturnOrder", f"The payment is {payment.status}; only one that was made.")
        if self._clock.now() > parse_time(payment.created) + timedelta(days=RETURN_DAYS):
            return problem_answer(422, "SentReturnOrder", f"A payment can be returned for {RETURN_DAYS} days.")
        amount = payment.left if order.valor is None else pix.parse_amount(order.valor)
        if not 0 < amount <= payment.left:
            return problem_answer(422, "SentReturnOrder", f"{payment.left} centavos of the payment are left.")
        payment.fault, payment.seconds = order.fault, order.seconds
        await self.came_back(payment, self._return_id(), pix.format_amount(amount), order.natureza)
        return json_response(202, payment.shown())

    async def came_back(self, payment: SentPayment, rtr_id: str, value: str, nature: str) -> None:
        """Add a return to a payment, and report it as the payment's fault says."""
        settled = {"liquidacao": format_time(self._clock.now())}
        one = {"rtrId": rtr_id, "valor": value, "natureza": nature, "horario": settled, "status": "DEVOLVIDO"}
        payment.returns.append(one)
        payment.told = False
        self._store(payment)
        await self._tell(payment)

    def _ordered(self, end_to_end_id: str, wanted: SentOrder) -> SentPayment:
        faults = self._state.sent_faults
        order = faults.popleft() if faults else None
        fault = None if order is None else order.report_fault
        moved = wanted.valor
        if fault == "wrong_amount":
            moved = pix.format_amount(pix.parse_amount(moved) % pix.MAX_AMOUNT + 1)
        payment = SentPayment(
            end_to_end_id=end_to_end_id,
            key=wanted.pagador.chave,
            receiver=wanted.favorecido.chave,
            ordered=wanted.valor,
            moved=moved,
            status="EM_PROCESSAMENTO",
            created=format_time(self._clock.now()),
            webhook=self._state.webhooks.get(wanted.pagador.chave),
            fault=None if fault == "late" else fault,
            seconds=0.0 if order is None or fault != "late" else order.seconds,
            refusal=order is not None and order.fault == "refused",
            txid=wanted.txid,
        )
        self._state.add_sent(payment)
        self._store(payment)
        return payment

    async def _process(self, payment: SentPayment) -> None:
        """Make the payment and report it, now or later."""
        if payment.seconds:
            self._reporter.run(self._later(payment))
            return
        await self._finish(payment)

    async def _later(self, payment: SentPayment) -> None:
        await self._sleep(payment.seconds)
        await self._finish(payment)

    async def _finish(self, payment: SentPayment) -> None:
        """Make or refuse a payment, and report it as its fault says."""
        payment.status = "NAO_REALIZADO" if payment.refusal else "REALIZADO"
        self._store(payment)
        if not payment.refusal:
            await self._arrive(payment)
        await self._tell(payment)

    async def _tell(self, payment: SentPayment) -> None:
        """Report a payment as its fault says."""
        if payment.fault == "out_of_order":
            await self._reporter.at_once(payment)
        elif payment.fault != "never":
            self._reporter.begin(payment)
