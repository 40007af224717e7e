"""A simulated partner bank, which makes transfers to accounts at any bank.

| path | |
|---|---|
| PUT, GET `/transfers/{reference}` · GET `/transfers` | transfers: order, read, list by the time of their last change |
| POST `/oauth/token` | an access token (client credentials), which the paths above need if a client is set |
| POST `/returns` | the receiving bank sends the money of a settled transfer back |
| GET `/settlement-file` | the outcomes of all transfers as a file, CNAB 240, of the number `sequence` |
| POST `/faults` | orders a fault |

It settles a transfer at once and reports each status by a signed callback to the order's `callback_url`. Its transfers,
and reports that are not delivered yet, survive the process in a journal.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
from pydantic import ValidationError

from embedded.simulators.access import ApiAccess, ApiClient
from embedded.simulators.answering import first_error, json_response
from embedded.simulators.bank_files import settlement_file
from embedded.simulators.bank_model import (
    MAX_TRANSFERS,
    FaultOrder,
    ReturnOrder,
    SimulatedTransfer,
    State,
    Status,
    StatusReport,
    TransferRequest,
    restored,
)
from embedded.simulators.callbacks import HttpPost, Post, Reporter, Sleep
from embedded.simulators.journal import ChargeJournal
from embedded.simulators.routing import Answer, Routes, with_fault
from shared.adapters.bank_transfer.rail import PAGE_SIZE
from shared.adapters.bank_transfer.reports import REFERENCE_PATTERN
from shared.core.clock import Clock, format_time, parse_time
from shared.http.messages import HttpRequest, HttpResponse

PREFIX: Final = "/simulators/bank_transfer"
UNKNOWN_BANK: Final = "000"
"""A bank's code that the partner bank refuses at once."""
_OPEN: Final = ("/oauth/token", "/returns", "/settlement-file", "/faults")
"""Paths without an access token: of other banks, and of whoever controls the simulation."""
_MAX_PAGE: Final = 1_000


class BankSimulator:
    """A simulated partner bank. Call it with a request for a path under `prefix`.

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
        self._access = ApiAccess(client, "transfers.write transfers.read", clock, random)
        self._journal = ChargeJournal(journal, MAX_TRANSFERS)
        self._state = State()
        self.reporter: Reporter[StatusReport] = Reporter(
            secret, clock, post or HttpPost(), sleep, _callback, self._reported
        )
        answers: dict[str, dict[str, Answer]] = {
            r"/transfers/([^/]+)": {"PUT": self._put_transfer, "GET": self._get_transfer},
            r"/(transfers)": {"GET": self._list_transfers},
            r"/oauth/(token)": {"POST": self._access.issue},
            r"/(returns)": {"POST": self._return},
            r"/(settlement-file)": {"GET": self._settlement_file},
            r"/(faults)": {"POST": self._order_fault},
        }
        self._routes = Routes(answers, prefix, _OPEN, self._api)

    def start(self) -> None:
        """Continue with the reports that were not delivered when the process ended. Needs a running event loop."""
        for kind, record in self._journal.load():
            restored(kind, record, self._state)
        for transfer in self._state.transfers.values():
            if not transfer.told:
                self.reporter.begin(_report(transfer))

    async def close(self) -> None:
        """Stop reporting. Undelivered reports stay in the journal."""
        await self.reporter.close()
        self._journal.close()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path under the prefix. Raises Problem `method_not_allowed`, and ConnectionCut."""
        return await self._routes(request) or _refusal(404, "not_found", "There is nothing at this path.")

    async def _api(self, answer: Answer, name: str, request: HttpRequest) -> HttpResponse:
        """Answer a request of the bank's API, with the fault that was ordered for it."""
        if not self._access.allows(request):
            return _refusal(401, "access_denied", "The access token is missing, invalid or expired.")
        error = _refusal(500, "internal_error", "An error was ordered for this request.")
        return await with_fault(self._state.request_faults, error, lambda: answer(unquote(name), request))

    async def _put_transfer(self, reference: str, request: HttpRequest) -> HttpResponse:
        if re.fullmatch(REFERENCE_PATTERN, reference) is None:
            return _refusal(400, "invalid_reference", "A reference has 20 capital letters and digits.")
        try:
            wanted = TransferRequest.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(400, "invalid_order", first_error(error))
        order = wanted.model_dump(mode="json")
        known = self._state.transfers.get(reference)
        if known is not None:
            if known.order != order:
                return _refusal(409, "reference_in_use", "There is another transfer of this reference.")
            return json_response(200, known.shown())
        if wanted.creditor.bank == UNKNOWN_BANK:
            return _refusal(422, "unknown_bank", "There is no bank of this code.")
        now = format_time(self._clock.now())
        number = "".join(self._random.choices("0123456789", k=20))
        transfer = SimulatedTransfer(reference, number, order, wanted.amount.value, "ACCEPTED", now, now)
        answer = json_response(201, transfer.shown())
        self._state.add(transfer)
        await self._execute(transfer)
        return answer

    async def _execute(self, transfer: SimulatedTransfer) -> None:
        """Give the transfer its outcome, and report it, with the fault that was ordered."""
        ordered = self._state.fault_of(transfer.reference)
        if ordered is not None:
            transfer.fault, transfer.seconds = ordered.transfer_fault, ordered.seconds
        if transfer.fault == "refused":
            assert ordered is not None
            self._change(transfer, "REJECTED", ordered.reason)
        else:
            if transfer.fault == "wrong_amount":
                transfer.amount += 1
            self._change(transfer, "SETTLED", None)
        if transfer.fault == "out_of_order":
            # The report arrives before the answer to the order, which shows the transfer as accepted.
            await self.reporter.at_once(_report(transfer))
        else:
            self.reporter.begin(_report(transfer))
        if transfer.fault == "returned":
            assert ordered is not None
            self._change(transfer, "RETURNED", ordered.reason)
            self.reporter.begin(_report(transfer))

    def _change(self, transfer: SimulatedTransfer, status: Status, reason: str | None) -> None:
        transfer.status, transfer.reason, transfer.told = status, reason, False
        transfer.updated_at = format_time(self._clock.now())
        self._store(transfer)

    async def _get_transfer(self, reference: str, _request: HttpRequest) -> HttpResponse:
        transfer = self._state.transfers.get(reference)
        if transfer is None:
            return _refusal(404, "unknown_transfer", "There is no transfer of this reference.")
        return json_response(200, transfer.shown())

    async def _list_transfers(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Return a page of the transfers that changed from `from` to `to`, oldest change first."""
        query = dict(parse_qsl(request.query))
        try:
            since, until = (format_time(parse_time(query[end])) for end in ("from", "to"))
            page, size = int(query.get("page", "0")), int(query.get("size", str(PAGE_SIZE)))
        except (KeyError, ValueError, OverflowError):
            return _refusal(400, "invalid_query", "from and to are times; page and size are numbers.")
        if page < 0 or not 1 <= size <= _MAX_PAGE:
            return _refusal(400, "invalid_query", f"A page has 1 to {_MAX_PAGE} transfers; its number is not negative.")
        ordered = sorted(self._state.transfers.values(), key=lambda one: (one.updated_at, one.reference))
        inside = [one.shown() for one in ordered if since <= one.updated_at <= until]
        more = len(inside) > (page + 1) * size
        return json_response(200, {"transfers": inside[page * size : (page + 1) * size], "has_more": more})

    async def _return(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Return the money of a settled transfer, and answer 202."""
        try:
            order = ReturnOrder.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(400, "invalid_return", first_error(error))
        transfer = self._state.transfers.get(order.reference)
        if transfer is None:
            return _refusal(404, "unknown_transfer", "There is no transfer of this reference.")
        if transfer.status != "SETTLED":
            return _refusal(409, "not_settled", f"The transfer is {transfer.status}; only a settled one is returned.")
        transfer.fault = None
        self._change(transfer, "RETURNED", order.reason)
        self.reporter.begin(_report(transfer))
        return json_response(202, transfer.shown())

    async def _settlement_file(self, _name: str, request: HttpRequest) -> HttpResponse:
        sequence = dict(parse_qsl(request.query)).get("sequence", "")
        if re.fullmatch(r"[0-9]{1,6}", sequence) is None or int(sequence) == 0:
            return _refusal(400, "invalid_query", "sequence is the number of the file, from 1 to 999999.")
        transfers = sorted(self._state.transfers.values(), key=lambda one: (one.updated_at, one.reference))
        text = settlement_file(transfers, int(sequence), self._clock.now())
        return HttpResponse(200, {"content-type": "text/plain; charset=us-ascii"}, text.encode("ascii"))

    async def _order_fault(self, _name: str, request: HttpRequest) -> HttpResponse:
        try:
            order = FaultOrder.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(400, "invalid_fault", first_error(error))
        self._state.order(order)
        return json_response(202, order.model_dump())

    def _reported(self, report: StatusReport) -> None:
        transfer = self._state.transfers.get(report.reference)
        if transfer is not None and transfer.status == report.document["status"]:
            transfer.told = True
            self._store(transfer)

    def _store(self, transfer: SimulatedTransfer) -> None:
        self._journal.append("transfer", {name: getattr(transfer, name) for name in SimulatedTransfer.__slots__})


def _report(transfer: SimulatedTransfer) -> StatusReport:
    url = transfer.order["callback_url"]
    return StatusReport(transfer.reference, url, transfer.shown(), transfer.fault, transfer.seconds)


def _callback(report: StatusReport) -> tuple[str | None, bytes]:
    return report.url, orjson.dumps({"transfers": [report.document]})


def _refusal(status: int, code: str, detail: Any) -> HttpResponse:
    """Return a refusal in the bank's format."""
    return json_response(status, {"code": code, "detail": detail})
