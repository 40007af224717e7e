"""The charges with a due date (`cobv`) of a simulated PIX provider: create, change or remove, read, and their terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embedded.simulators.answering import first_error, json_response
from embedded.simulators.pix_answers import problem_answer
from embedded.simulators.pix_model import DueDate, SimulatedCharge, State
from shared.adapters.pix import formats as pix
from shared.adapters.pix.due_charges import read_charge
from shared.core.business_days import day_in_sao_paulo
from shared.core.clock import Clock, format_time, parse_time
from shared.core.due_terms import InvalidTerms, check_terms, last_day
from shared.http.messages import HttpRequest, HttpResponse

_INVALID: Final = "CobVOperacaoInvalida"


class _Debtor(BaseModel):
    """Who owes a charge. Only the form of the taxpayer number is checked: the rail's own examples fail the check
    digits."""

    model_config = ConfigDict(extra="allow")

    nome: Annotated[str, Field(min_length=1, max_length=200)]
    cpf: Annotated[str, Field(pattern=r"^[0-9]{11}$")] | None = None
    cnpj: Annotated[str, Field(pattern=r"^[0-9A-Z]{14}$")] | None = None

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if (self.cpf is None) == (self.cnpj is None):
            raise ValueError("a debtor has either cpf or cnpj")
        return self


class _Request(BaseModel):
    """The fields of the body of `PUT /cobv/{txid}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    calendario: dict[str, Any]
    devedor: _Debtor
    valor: dict[str, Any]
    chave: Annotated[str, Field(min_length=1, max_length=77)]
    solicitacaoPagador: Annotated[str, Field(max_length=140)] | None = None  # noqa: N815 - the rail's own name


class _Revision(BaseModel):
    """The fields of the body of `PATCH /cobv/{txid}` that the simulator uses."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["REMOVIDA_PELO_USUARIO_RECEBEDOR"] | None = None
    calendario: dict[str, Any] | None = None
    devedor: _Debtor | None = None
    valor: dict[str, Any] | None = None
    solicitacaoPagador: Annotated[str, Field(max_length=140)] | None = None  # noqa: N815 - as above


class DueCharges:
    """The charges with a due date. `place` makes a location, or None when the host is too long for one; `store` writes
    a charge to the journal."""

    def __init__(
        self, state: State, clock: Clock, place: Callable[[str], str | None], store: Callable[[SimulatedCharge], None]
    ) -> None:
        self._state = state
        self._clock = clock
        self._place = place
        self._store = store

    async def put(self, txid: str, request: HttpRequest) -> HttpResponse:
        """Create a charge. The same charge again is answered as it is."""
        if re.fullmatch(pix.TXID_PATTERN, txid) is None:
            return problem_answer(400, _INVALID, "A txid has 26 to 35 letters and digits.")
        now = self._clock.now()
        try:
            wanted = _Request.model_validate_json(request.body)
            due = _due_date(wanted.calendario, wanted.valor, wanted.devedor.model_dump(exclude_none=True))
            original = _checked(due, day_in_sao_paulo(now))
        except (ValidationError, ValueError) as error:
            return _invalid(error)
        known = self._state.charges.get(txid)
        if known is not None:
            if (known.due, known.key) != (due, wanted.chave):
                return problem_answer(409, _INVALID, "There is another charge of this txid.")
            return json_response(200, known.shown())
        location = self._place("qr/cobv")
        if location is None:
            return problem_answer(
                500, "ErroInternoDoServidor", "The simulator's host is too long for the location of a BR Code."
            )
        charge = SimulatedCharge(
            txid=txid,
            original=original,
            key=wanted.chave,
            created=format_time(now),
            expires_in=0,
            location=location,
            webhook=self._state.webhooks.get(wanted.chave),
            note=wanted.solicitacaoPagador,
            due=due,
        )
        self._state.add_charge(charge)
        self._store(charge)
        return json_response(201, charge.shown())

    async def patch(self, txid: str, request: HttpRequest) -> HttpResponse:
        """Change or remove an active charge; a request that does both is refused (API Pix 2.9)."""
        charge = self._found(txid)
        if charge is None or charge.due is None:
            return _missing()
        try:
            wanted = _Revision.model_validate_json(request.body)
            _require_change(charge, wanted)
            due = _revised(charge.due, wanted)
            original = _checked(due, day_in_sao_paulo(parse_time(charge.created)))
        except (ValidationError, ValueError) as error:
            return _invalid(error)
        charge.status = wanted.status or charge.status
        charge.due, charge.original = due, original
        charge.note = charge.note if wanted.solicitacaoPagador is None else wanted.solicitacaoPagador
        charge.revision += 1
        self._store(charge)
        return json_response(200, charge.shown())

    def get(self, txid: str, payments: Callable[[str], list[dict[str, Any]]]) -> HttpResponse:
        """Answer with a charge and its payments."""
        charge = self._found(txid)
        return _missing() if charge is None else json_response(200, {**charge.shown(), "pix": payments(txid)})

    def payment_day(self, charge: SimulatedCharge, request: HttpRequest) -> date | HttpResponse:
        """Return the day for which the terms of a charge are asked: `DPP`, or today in São Paulo.

        An answer is returned for a day that is invalid, has passed, or is after the charge's last day.
        """
        today = day_in_sao_paulo(self._clock.now())
        wanted = dict(parse_qsl(request.query)).get("DPP")
        if wanted is None or charge.due is None:
            return today
        try:
            day = date.fromisoformat(wanted)
        except ValueError:
            return problem_answer(400, "CobPayloadOperacaoInvalida", "DPP is a date, such as 2026-12-31.")
        if not today <= day <= last_day(charge.terms()):
            return problem_answer(400, "CobPayloadOperacaoInvalida", "The charge cannot be paid on the day DPP.")
        return day

    def _found(self, txid: str) -> SimulatedCharge | None:
        charge = self._state.charges.get(txid)
        return None if charge is None or charge.due is None else charge


def _require_change(charge: SimulatedCharge, wanted: _Revision) -> None:
    """Raise ValueError when the charge cannot be changed, or is to be removed and changed at once."""
    if charge.status != "ATIVA":
        raise ValueError(f"the charge is {charge.status}")
    if wanted.status is not None and wanted.model_dump(exclude={"status"}, exclude_none=True):
        raise ValueError("a charge is removed or changed, not both")


def _revised(due: DueDate, wanted: _Revision) -> DueDate:
    """Return what a charge has after a change; the amount and its parts are replaced together. Raises ValueError."""
    debtor = due["devedor"] if wanted.devedor is None else wanted.devedor.model_dump(exclude_none=True)
    value = due["valor"] if wanted.valor is None else wanted.valor
    return _due_date({**due["calendario"], **(wanted.calendario or {})}, value, debtor)


def _due_date(calendar: dict[str, Any], value: dict[str, Any], debtor: dict[str, Any]) -> DueDate:
    """Return what a charge has, with the days of validity that it does not say. Raises ValueError."""
    _, terms = read_charge(calendar, value)
    days = {"dataDeVencimento": terms["date"], "validadeAposVencimento": terms["valid_days"]}
    return {"calendario": days, "valor": value, "devedor": debtor}


def _checked(due: DueDate, created: date) -> str:
    """Return the original amount of a charge whose terms fit each other. Raises ValueError."""
    amount, terms = read_charge(due["calendario"], due["valor"])
    check_terms(amount, terms, created, pix.MAX_AMOUNT)
    return pix.format_amount(amount)


def _invalid(error: ValueError) -> HttpResponse:
    if isinstance(error, ValidationError):
        return problem_answer(400, _INVALID, first_error(error))
    field = f"{error.field}: " if isinstance(error, InvalidTerms) else ""
    return problem_answer(400, _INVALID, f"{field}{error}.")


def _missing() -> HttpResponse:
    return problem_answer(404, "CobVNaoEncontrada", "There is no charge with a due date of this txid.")
