"""A simulated PIX provider, which speaks the API Pix of Banco Central do Brasil.

| path | |
|---|---|
| PUT, PATCH, GET `/cob/{txid}` · GET `/cob` | immediate charges: create, change or remove, read, list |
| PUT, PATCH, GET `/cobv/{txid}` · GET `/cobv` | charges with a due date: the same |
| GET `/pix` · GET `/pix/{endToEndId}` | received payments |
| PUT, GET `/pix/enviados/{endToEndId}` · GET `/pix/enviados` | payments out: order, read, list |
| GET `/dict/{chave}` | whether there is a key, with the limits of DICT |
| PUT, GET `/pix/{endToEndId}/devolucao/{id}` | returns of received payments |
| GET `/infraction-reports/{id}` · POST `/infraction-reports/{id}/close` | a report of fraud: its state, the decision |
| PUT, GET, DELETE `/webhook/{chave}` | the URL at which payments are reported |
| POST `/oauth/token` | an access token (client credentials), which the paths above need if a client is set |
| GET `/qr/{location}` · GET `/qr/cobv/{location}` | the terms of a charge for the payer's bank, as a JWS |
| GET `/jwks` | the key of its signature |
| POST `/payments` | pays a BR Code as a stranger's bank does |
| POST `/returns` | returns a payment out, or a part of it, as its receiver's bank does |
| POST `/frauds` | reports a payment as a fraud, or withdraws such a report |
| POST `/faults` | orders a fault |

It pays the charge of a deposit immediately. It does not check that a code can still be paid: two payers may pay at the
same moment. Its charges, and reports that are not delivered yet, survive the process in a journal.
"""

from __future__ import annotations

import asyncio
import re
import string
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
from pydantic import ValidationError

from embedded.simulators.access import ApiAccess, ApiClient
from embedded.simulators.answering import first_error, json_response
from embedded.simulators.callbacks import HttpPost, Post, Reporter, Sleep
from embedded.simulators.journal import ChargeJournal
from embedded.simulators.pix_answers import problem_answer
from embedded.simulators.pix_dict import Directory
from embedded.simulators.pix_due import DueCharges
from embedded.simulators.pix_frauds import Closing, FraudOrder, SimulatedFraud
from embedded.simulators.pix_model import (
    MAX_CHARGES,
    NO_FAULT,
    ChargeRequest,
    FaultOrder,
    PaymentOrder,
    ReportFault,
    Revision,
    SentPayment,
    SimulatedCharge,
    SimulatedPayment,
    State,
    path_of,
    restored,
)
from embedded.simulators.pix_payload import PayloadKey
from embedded.simulators.pix_returns import RefusedReturn, ReturnRequest, Returns, SimulatedReturn
from embedded.simulators.pix_sent import SentPayments
from embedded.simulators.routing import Answer, Routes, with_fault
from shared.adapters.pix import formats as pix
from shared.adapters.pix.br_code import MAX_LOCATION, BrCode, InvalidBrCode, parse_br_code
from shared.adapters.pix.payments import SENT_MEMBER
from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import Clock, format_time, parse_time
from shared.http.messages import HttpRequest, HttpResponse

PREFIX: Final = "/simulators/pix"
PAGE_SIZE: Final = 100
_ISPB: Final = "99999004"
_ALPHANUMERIC: Final = string.ascii_letters + string.digits
_LOCATION_LENGTH: Final = 22
_SCOPE: Final = "cob.write cob.read cobv.write cobv.read pix.write pix.read webhook.write webhook.read"
CALLBACK_PATH: Final = "/pix"
"""What a provider adds to the URL of a webhook (API Pix)."""
FRAUD_PATH: Final = "/med"
"""What this provider adds to it for reports of fraud, of which the API Pix says nothing."""
_OPEN: Final = ("/oauth/token", "/qr/", "/jwks", "/payments", "/returns", "/frauds", "/faults")
"""Paths without an access token: of other banks, and of whoever controls the simulation."""


class PixSimulator:
    """A simulated provider. Call it with a request for a path under `prefix`.

    `base_url` is the URL of the program, to which `prefix` belongs. `journal` is the file that survives the process
    (None: everything is only in memory). With a `client`, the API needs an access token.
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
        base_url: str = "http://127.0.0.1:8080",
        prefix: str = PREFIX,
        client: ApiClient | None = None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._prefix = prefix
        self._host = base_url.rstrip("/").partition("://")[2]
        self._access = ApiAccess(client, _SCOPE, clock, random)
        self._journal = ChargeJournal(journal, 2 * MAX_CHARGES)
        self._state = State()
        self._payload_key = PayloadKey()
        post = post or HttpPost()
        self.reporter = Reporter(secret, clock, post, sleep, self._callback, self._reported)
        self.sent_reporter = Reporter(secret, clock, post, sleep, self._sent_callback, self._sent_reported)
        self._sent = SentPayments(
            self._state, clock, self.sent_reporter, sleep, self._store_sent, self._arrive, self._return_id
        )
        self._directory = Directory(clock)
        self._due = DueCharges(self._state, clock, self._new_location, self._store_charge)
        self._returns = Returns(clock, self._made, _ISPB)
        self.returns_reporter = Reporter(secret, clock, post, sleep, self._return_callback, self._return_reported)
        self._frauds: dict[str, SimulatedFraud] = {}
        self.frauds_reporter = Reporter(secret, clock, post, sleep, self._fraud_callback, self._fraud_reported)
        self._routes = self._all_routes()

    def _all_routes(self) -> Routes:
        answers: dict[str, dict[str, Answer]] = {
            r"/cob/([^/]+)": {"PUT": self._put_charge, "PATCH": self._patch_charge, "GET": self._get_charge},
            r"/(cobv?)": {"GET": self._list_charges},
            r"/cobv/([^/]+)": {"PUT": self._due.put, "PATCH": self._due.patch, "GET": self._get_due_charge},
            r"/pix/enviados/([^/]+)": {"PUT": self._sent.put, "GET": self._sent.get},
            r"/pix/(enviados)": {"GET": self._list_sent},
            r"/dict/([^/]+)": {"GET": self._directory.get},
            r"/pix/([^/]+/devolucao/[^/]+)": {"PUT": self._put_return, "GET": self._get_return},
            r"/pix/([^/]+)": {"GET": self._get_payment},
            r"/(pix)": {"GET": self._list_payments},
            r"/webhook/([^/]+)": {
                "PUT": self._put_webhook,
                "GET": self._get_webhook,
                "DELETE": self._delete_webhook,
            },
            r"/oauth/(token)": {"POST": self._access.issue},
            r"/qr/((?:cobv/)?[^/]+)": {"GET": self._payload},
            r"/(jwks)": {"GET": self._jwks},
            r"/(payments)": {"POST": self._pay},
            r"/(returns)": {"POST": self._sent.give_back},
            r"/(frauds)": {"POST": self._order_fraud},
            r"/infraction-reports/([^/]+)": {"GET": self._get_fraud},
            r"/infraction-reports/([^/]+)/close": {"POST": self._close_fraud},
            r"/(faults)": {"POST": self._order_fault},
        }
        return Routes(answers, self._prefix, _OPEN, self._api)

    def start(self) -> None:
        """Continue with the reports that were not delivered when the process ended. Needs a running event loop."""
        for kind, record in self._journal.load():
            if kind == "return":
                self._returns.add(SimulatedReturn(**record))
            elif kind == "fraud":
                self._frauds[record["id"]] = SimulatedFraud(**record)
            else:
                restored(kind, record, self._state)
        for payment in self._state.payments.values():
            if payment.txid is not None and not payment.told and payment.fault != "never":
                self.reporter.begin(payment)
        self._sent.start()
        for one in self._returns.all.values():
            if not one.told and one.fault != "never":
                self.returns_reporter.begin(one)
        for fraud in self._frauds.values():
            if not fraud.told:
                self.frauds_reporter.begin(fraud)

    async def close(self) -> None:
        """Stop reporting. Undelivered reports stay in the journal."""
        for reporter in (self.frauds_reporter, self.returns_reporter, self.sent_reporter):
            await reporter.close()
        await self.reporter.close()
        self._journal.close()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path under the prefix. Raises Problem `method_not_allowed`, and ConnectionCut."""
        return await self._routes(request) or problem_answer(404, "NaoEncontrado", "There is nothing at this path.")

    async def _api(self, answer: Answer, name: str, request: HttpRequest) -> HttpResponse:
        """Answer a request of the provider's API, with the fault that was ordered for it."""
        if not self._access.allows(request):
            return problem_answer(403, "AcessoNegado", "The access token is missing, invalid or expired.")
        error = problem_answer(500, "ErroInternoDoServidor", "An error was ordered for this request.")
        return await with_fault(self._state.request_faults, error, lambda: answer(unquote(name), request))

    # Charges

    async def _put_charge(self, txid: str, request: HttpRequest) -> HttpResponse:
        if re.fullmatch(pix.TXID_PATTERN, txid) is None:
            return problem_answer(400, "CobOperacaoInvalida", "A txid has 26 to 35 letters and digits.")
        try:
            wanted = ChargeRequest.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "CobOperacaoInvalida", first_error(error))
        known = self._state.charges.get(txid)
        if known is not None:
            if (known.original, known.key, known.due) != (wanted.valor.original, wanted.chave, None):
                return problem_answer(409, "CobOperacaoInvalida", "There is another charge of this txid.")
            return json_response(200, known.shown())
        location = self._new_location("qr")
        if location is None:
            return problem_answer(
                500, "ErroInternoDoServidor", f"{self._host} is too long for the location of a BR Code."
            )
        charge = SimulatedCharge(
            txid=txid,
            original=wanted.valor.original,
            key=wanted.chave,
            created=format_time(self._clock.now()),
            expires_in=wanted.calendario.expiracao,
            location=location,
            webhook=self._state.webhooks.get(wanted.chave),
            note=wanted.solicitacaoPagador,
        )
        self._state.add_charge(charge)
        if wanted.at_once:
            await self._receive(charge, charge.original, self._state.fault_of(txid))
        self._store_charge(charge)
        return json_response(201, charge.shown("ATIVA"))

    async def _patch_charge(self, txid: str, request: HttpRequest) -> HttpResponse:
        """Change or remove an active charge; a request that does both is refused (API Pix 2.9)."""
        try:
            wanted = Revision.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "CobOperacaoInvalida", first_error(error))
        charge = self._immediate(txid)
        if charge is None:
            return problem_answer(404, "CobNaoEncontrado", "There is no charge of this txid.")
        if charge.status != "ATIVA":
            return problem_answer(400, "CobOperacaoInvalida", f"The charge is {charge.status}.")
        edited = wanted.model_dump(exclude={"status"}, exclude_none=True)
        if wanted.status is not None and edited:
            return problem_answer(400, "CobOperacaoInvalida", "A charge is removed or changed, not both.")
        if wanted.status is not None:
            charge.status = wanted.status
        if wanted.valor is not None:
            charge.original = wanted.valor.original
        if wanted.calendario is not None:
            charge.expires_in = wanted.calendario.expiracao
        if wanted.solicitacaoPagador is not None:
            charge.note = wanted.solicitacaoPagador
        charge.revision += 1
        self._store_charge(charge)
        return json_response(200, charge.shown())

    async def _get_charge(self, txid: str, _request: HttpRequest) -> HttpResponse:
        charge = self._immediate(txid)
        if charge is None:
            return problem_answer(404, "CobNaoEncontrado", "There is no charge of this txid.")
        return json_response(200, {**charge.shown(), "pix": self._payments_of(txid)})

    async def _get_due_charge(self, txid: str, _request: HttpRequest) -> HttpResponse:
        return self._due.get(txid, self._payments_of)

    async def _list_charges(self, kind: str, request: HttpRequest) -> HttpResponse:
        """List the charges of a kind, of one debtor or in one status if the query says so."""
        query = dict(parse_qsl(request.query))
        problem = "CobVConsultaInvalida" if kind == "cobv" else "CobConsultaInvalida"
        if "cpf" in query and "cnpj" in query:
            return problem_answer(400, problem, "A list is of one debtor: send cpf or cnpj.")
        shown = [(one.created, one.shown()) for one in self._state.charges.values() if one.kind == kind]
        charges = [
            (created, document)
            for created, document in shown
            if query.get("status") in (None, document["status"])
            and all(query.get(name) in (None, document.get("devedor", {}).get(name)) for name in ("cpf", "cnpj"))
        ]
        return self._page(request, "cobs", charges, problem)

    def _immediate(self, txid: str) -> SimulatedCharge | None:
        charge = self._state.charges.get(txid)
        return None if charge is None or charge.due is not None else charge

    def _new_location(self, path: str) -> str | None:
        """Return a new location, or None when the host is too long for one."""
        location = f"{self._host}{self._prefix}/{path}/{self._made(_LOCATION_LENGTH)}"
        return location if len(location) <= MAX_LOCATION else None

    # Payments

    async def _get_payment(self, end_to_end_id: str, _request: HttpRequest) -> HttpResponse:
        payment = self._state.payments.get(end_to_end_id)
        if payment is None:
            return problem_answer(404, "PixNaoEncontrado", "There is no payment of this endToEndId.")
        return json_response(200, self._shown(payment))

    async def _list_payments(self, _name: str, request: HttpRequest) -> HttpResponse:
        payments = [(payment.paid_at, self._shown(payment)) for payment in self._state.payments.values()]
        return self._page(request, "pix", payments)

    async def _list_sent(self, _name: str, request: HttpRequest) -> HttpResponse:
        """List payments out by the time of their order; with `devolucaoPresente`, those with returns or without."""
        wanted = dict(parse_qsl(request.query)).get("devolucaoPresente")
        if wanted not in (None, "true", "false"):
            return problem_answer(400, "ConsultaInvalida", "devolucaoPresente is true or false.")
        payments = [
            (payment.created, payment.shown())
            for payment in self._state.sent.values()
            if wanted is None or bool(payment.returns) == (wanted == "true")
        ]
        return self._page(request, SENT_MEMBER, payments)

    def _page(
        self,
        request: HttpRequest,
        name: str,
        found: list[tuple[str, dict[str, Any]]],
        problem: str = "PixConsultaInvalida",
    ) -> HttpResponse:
        """Return a page of what happened from `inicio` to `fim`, oldest first."""
        query = dict(parse_qsl(request.query))
        try:
            since, until = (format_time(parse_time(query[end])) for end in ("inicio", "fim"))
            page = int(query.get("paginacao.paginaAtual", "0"))
            size = int(query.get("paginacao.itensPorPagina", str(PAGE_SIZE)))
        except (KeyError, ValueError, OverflowError):
            return problem_answer(400, problem, "inicio and fim are times; the page and its size are numbers.")
        if page < 0 or not 1 <= size <= 1000:
            return problem_answer(400, problem, "A page has 1 to 1000 items, and its number is not negative.")
        inside = [document for time, document in sorted(found, key=lambda one: one[0]) if since <= time <= until]
        paging = {
            "paginaAtual": page,
            "itensPorPagina": size,
            "quantidadeDePaginas": -(-len(inside) // size),
            "quantidadeTotalDeItens": len(inside),
        }
        parameters = {"inicio": since, "fim": until, "paginacao": paging}
        return json_response(200, {"parametros": parameters, name: inside[page * size : (page + 1) * size]})

    async def _pay(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Pay a code, and answer 202."""
        try:
            order = PaymentOrder.model_validate_json(request.body)
            code = parse_br_code(order.br_code)
        except ValidationError as error:
            return problem_answer(400, "PaymentOrder", first_error(error))
        except InvalidBrCode as error:
            return problem_answer(422, "BrCode", f"{error}.")
        amount = None if order.amount is None else order.amount.value
        if amount is not None and amount > pix.MAX_AMOUNT:
            return problem_answer(422, "PaymentOrder", "PIX moves at most 9,999,999,999.99 at once.")
        fault = ReportFault(order.fault, order.seconds)
        txid = self._state.locations.get(path_of(code.location or ""))
        if txid is not None:
            charge = self._state.charges[txid]
            today = day_in_sao_paulo(self._clock.now())
            original = charge.payable(today) if amount is None else pix.format_amount(amount)
            payment = await self._receive(charge, original, fault)
        elif code.key in self._state.webhooks:
            amount = amount or code.amount
            if amount is None:
                return problem_answer(422, "PaymentOrder", "The code has no amount: send one.")
            payment = await self._receive_by_key(code, pix.format_amount(amount), fault)
        else:
            return problem_answer(422, "BrCode", "The code is not of this provider.")
        return json_response(202, {"endToEndId": payment.end_to_end_id, "valor": payment.original})

    async def _receive(
        self, charge: SimulatedCharge, original: str, fault: ReportFault, end_to_end_id: str | None = None
    ) -> SimulatedPayment:
        """Receive a payment of a charge, and report it with the fault that was ordered. Without `end_to_end_id` one is
        made."""
        payment = self._payment(charge.txid, charge.key, original, fault, end_to_end_id)
        payment.webhook = charge.webhook
        if fault.name == "out_of_order":
            # The report arrives before the response, while the charge is still shown as unpaid.
            await self.reporter.at_once(payment)
        if charge.status == "ATIVA":
            charge.status = "CONCLUIDA"
        self._store_charge(charge)
        if fault.name != "out_of_order":
            self.reporter.begin(payment)
        return payment

    async def _receive_by_key(self, code: BrCode, original: str, fault: ReportFault) -> SimulatedPayment:
        """Receive a payment of a static code. One without a txid is not reported: it is found by `GET /pix`."""
        assert code.key is not None, "the caller has found its webhook"
        payment = self._payment(code.txid, code.key, original, fault)
        if payment.txid is not None and fault.name == "out_of_order":
            await self.reporter.at_once(payment)
        elif payment.txid is not None:
            self.reporter.begin(payment)
        return payment

    def _payment(
        self, txid: str | None, key: str, original: str, fault: ReportFault, end_to_end_id: str | None = None
    ) -> SimulatedPayment:
        now = self._clock.now()
        if fault.name == "wrong_amount":
            original = pix.format_amount(pix.parse_amount(original) % pix.MAX_AMOUNT + 1)
        payment = SimulatedPayment(
            end_to_end_id=end_to_end_id or f"E{_ISPB}{now:%Y%m%d%H%M}{self._made(11)}",
            txid=txid,
            key=key,
            original=original,
            paid_at=format_time(now),
            webhook=None,
            fault=fault.name,
            seconds=fault.seconds,
        )
        self._state.add_payment(payment)
        self._store_payment(payment)
        return payment

    def _callback(self, payment: SimulatedPayment) -> tuple[str | None, bytes]:
        """Return the URL and the body of a payment's callback."""
        url = self._state.webhooks.get(payment.key) or payment.webhook
        return None if url is None else url + CALLBACK_PATH, orjson.dumps({"pix": [self._shown(payment)]})

    def _reported(self, payment: SimulatedPayment) -> None:
        payment.told = True
        self._store_payment(payment)

    async def _arrive(self, sent: SentPayment) -> None:
        """Receive a payment out that pays a charge here: payer and receiver have the same provider."""
        charge = self._state.charges.get(sent.txid or "")
        if charge is not None and charge.key == sent.receiver and sent.end_to_end_id not in self._state.payments:
            await self._receive(charge, sent.moved, NO_FAULT, sent.end_to_end_id)

    def _sent_callback(self, payment: SentPayment) -> tuple[str | None, bytes]:
        """Return the URL and the body of the callback about a payment out."""
        url = self._state.webhooks.get(payment.key) or payment.webhook
        return None if url is None else f"{url}{CALLBACK_PATH}", orjson.dumps({SENT_MEMBER: [payment.shown()]})

    def _sent_reported(self, payment: SentPayment) -> None:
        payment.told = True
        self._store_sent(payment)

    def _payments_of(self, txid: str) -> list[dict[str, Any]]:
        return [self._shown(payment) for payment in self._state.payments.values() if payment.txid == txid]

    def _shown(self, payment: SimulatedPayment) -> dict[str, Any]:
        """Return a payment as the API and the callback show it, with its returns."""
        document, returns = payment.shown(), self._returns.of(payment.end_to_end_id)
        if returns:
            document["devolucoes"] = [one.shown() for one in returns]
        return document

    # Returns

    async def _put_return(self, name: str, request: HttpRequest) -> HttpResponse:
        end_to_end_id, _, id = name.partition("/devolucao/")
        payment = self._state.payments.get(end_to_end_id)
        if payment is None:
            return problem_answer(404, "PixNaoEncontrado", "There is no payment of this endToEndId.")
        try:
            one, is_new = self._returns.request(payment, id, ReturnRequest.model_validate_json(request.body))
        except ValidationError as error:
            return problem_answer(400, "PixDevolucaoInvalida", first_error(error))
        except RefusedReturn as refused:
            return problem_answer(refused.status, "PixDevolucaoInvalida", str(refused))
        if not is_new:
            return json_response(200, one.shown())
        self._store_return(one)
        sent = self._state.sent.get(end_to_end_id)
        if sent is not None and one.outcome == "DEVOLVIDO":
            # Payer and receiver have the same provider: the payer's payment comes back.
            await self._sent.came_back(sent, one.rtr_id, one.original, one.nature)
        if one.fault == "out_of_order":
            await self.returns_reporter.at_once(one)
        else:
            self.returns_reporter.begin(one)
        return json_response(201, one.shown("EM_PROCESSAMENTO"))

    async def _get_return(self, name: str, _request: HttpRequest) -> HttpResponse:
        end_to_end_id, _, id = name.partition("/devolucao/")
        one = self._returns.all.get(f"{end_to_end_id}/{id}")
        if one is None:
            return problem_answer(404, "PixDevolucaoNaoEncontrada", "There is no return of this id.")
        return json_response(200, one.shown())

    def _return_callback(self, one: SimulatedReturn) -> tuple[str | None, bytes]:
        """Return the URL and the body of the callback of a return: that of its payment."""
        payment = self._state.payments.get(one.end_to_end_id)
        return (None, b"") if payment is None else self._callback(payment)

    def _return_reported(self, one: SimulatedReturn) -> None:
        one.told = True
        self._store_return(one)

    def _store_return(self, one: SimulatedReturn) -> None:
        self._journal.append("return", {name: getattr(one, name) for name in SimulatedReturn.__slots__})

    # Reports of fraud

    async def _order_fraud(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Report a payment as a fraud, or withdraw a report, and answer 202 with the report."""
        try:
            order = FraudOrder.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "FraudOrder", first_error(error))
        if order.id is not None:
            known = self._frauds.get(order.id)
            if known is None or known.status != "OPEN":
                return problem_answer(422, "FraudOrder", "There is no open report of this id.")
            known.status, known.told = "CANCELLED", False
            self._store_fraud(known)
            self.frauds_reporter.begin(known)
            return json_response(202, known.shown())
        payment = self._state.payments.get(order.endToEndId or "")
        if payment is None:
            return problem_answer(422, "FraudOrder", "There is no payment of this endToEndId.")
        fraud = SimulatedFraud(
            self._made(32),
            payment.end_to_end_id,
            payment.txid,
            order.valor or payment.original,
            order.reportDetails,
            fault=order.fault,
        )
        self._frauds[fraud.id] = fraud
        if len(self._frauds) > MAX_CHARGES:
            del self._frauds[next(iter(self._frauds))]
        self._store_fraud(fraud)
        self.frauds_reporter.begin(fraud)
        return json_response(202, fraud.shown())

    async def _get_fraud(self, id: str, _request: HttpRequest) -> HttpResponse:
        fraud = self._frauds.get(id)
        if fraud is None:
            return problem_answer(404, "InfractionReportNotFound", "There is no report of this id.")
        return json_response(200, fraud.shown())

    async def _close_fraud(self, id: str, request: HttpRequest) -> HttpResponse:
        """Note the decision of the receiver's side; the same decision again changes nothing."""
        fraud = self._frauds.get(id)
        try:
            closing = Closing.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "InfractionReportInvalid", first_error(error))
        if fraud is None:
            return problem_answer(404, "InfractionReportNotFound", "There is no report of this id.")
        if fraud.status == "CANCELLED" or fraud.result not in (None, closing.analysisResult):
            return problem_answer(400, "InfractionReportInvalid", f"The report is {fraud.result or fraud.status}.")
        fraud.status, fraud.result, fraud.result_details = "CLOSED", closing.analysisResult, closing.analysisDetails
        self._store_fraud(fraud)
        return json_response(200, fraud.shown())

    def _fraud_callback(self, fraud: SimulatedFraud) -> tuple[str | None, bytes]:
        """Return the URL and the body of the callback of a report."""
        payment = self._state.payments.get(fraud.end_to_end_id)
        url = None if payment is None else self._state.webhooks.get(payment.key) or payment.webhook
        return None if url is None else url + FRAUD_PATH, orjson.dumps({"infractionReports": [fraud.shown()]})

    def _fraud_reported(self, fraud: SimulatedFraud) -> None:
        fraud.told = True
        self._store_fraud(fraud)

    def _store_fraud(self, fraud: SimulatedFraud) -> None:
        self._journal.append("fraud", {name: getattr(fraud, name) for name in SimulatedFraud.__slots__})

    # Webhooks, payloads and faults

    async def _put_webhook(self, key: str, request: HttpRequest) -> HttpResponse:
        try:
            url = orjson.loads(request.body)["webhookUrl"]
        except (ValueError, KeyError, TypeError):
            url = None
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            return problem_answer(400, "WebhookOperacaoInvalida", "webhookUrl is an http or https URL.")
        self._state.webhooks[key] = url
        self._journal.append("webhook", {"key": key, "url": url})
        return self._webhook(key, url)

    async def _get_webhook(self, key: str, _request: HttpRequest) -> HttpResponse:
        url = self._state.webhooks.get(key)
        return (
            problem_answer(404, "WebhookNaoEncontrado", "The key has no webhook.")
            if url is None
            else self._webhook(key, url)
        )

    async def _delete_webhook(self, key: str, _request: HttpRequest) -> HttpResponse:
        if self._state.webhooks.pop(key, None) is None:
            return problem_answer(404, "WebhookNaoEncontrado", "The key has no webhook.")
        self._journal.append("webhook", {"key": key, "url": ""})
        return HttpResponse(204, {}, b"")

    def _webhook(self, key: str, url: str) -> HttpResponse:
        return json_response(200, {"webhookUrl": url, "chave": key, "criacao": format_time(self._clock.now())})

    async def _payload(self, id: str, request: HttpRequest) -> HttpResponse:
        """Return the terms of a charge, signed; 410 when the charge has expired or was removed."""
        txid = self._state.locations.get(f"{self._prefix}/qr/{id}")
        if txid is None:
            return problem_answer(404, "CobPayloadNaoEncontrado", "There is no charge at this location.")
        charge, now = self._state.charges[txid], self._clock.now()
        if charge.status == "REMOVIDA_PELO_USUARIO_RECEBEDOR" or charge.has_expired(now):
            return problem_answer(410, "CobPayloadNaoEncontrado", "The charge was removed or has expired.")
        day = self._due.payment_day(charge, request)
        if isinstance(day, HttpResponse):
            return day
        # The charge may have been created when the simulator was reached under another address.
        host = charge.location.partition("/")[0]
        signed = self._payload_key.sign(charge.payload(now, day), f"https://{host}{self._prefix}/jwks")
        return HttpResponse(200, {"content-type": "application/jose"}, signed.encode())

    async def _jwks(self, _name: str, _request: HttpRequest) -> HttpResponse:
        return json_response(200, self._payload_key.jwks())

    async def _order_fault(self, _name: str, request: HttpRequest) -> HttpResponse:
        try:
            order = FaultOrder.model_validate_json(request.body)
        except ValidationError as error:
            return problem_answer(400, "FaultOrder", first_error(error))
        if order.payments == "returned":
            self._returns.faults.append(order)
        else:
            self._state.order(order)
        return json_response(202, order.model_dump())

    def _store_charge(self, charge: SimulatedCharge) -> None:
        self._journal.append("charge", {name: getattr(charge, name) for name in SimulatedCharge.__slots__})

    def _store_payment(self, payment: SimulatedPayment) -> None:
        self._journal.append("payment", {name: getattr(payment, name) for name in SimulatedPayment.__slots__})

    def _store_sent(self, payment: SentPayment) -> None:
        self._journal.append("sent", {name: getattr(payment, name) for name in SentPayment.__slots__})

    def _return_id(self) -> str:
        """Return a new RtrId."""
        return f"D{_ISPB}{self._clock.now():%Y%m%d%H%M}{self._made(11)}"

    def _made(self, length: int) -> str:
        return "".join(self._random.choices(_ALPHANUMERIC, k=length))
