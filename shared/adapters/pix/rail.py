"""The PIX rail over HTTP: the charges of the API Pix of Banco Central do Brasil, immediate (`cob`) and with a due date
(`cobv`).

Without an answer the outcome is unknown: the rail reads the charge by its id, and raises Unavailable when that is not
answered either. It is never a refusal. A retry is safe, because the platform chooses the id of a charge and the
provider creates only one charge for an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.pix.formats import CURRENCY, DEPOSIT_NOTE, MAX_AMOUNT, format_amount
from shared.adapters.pix.payments import PixPayments
from shared.adapters.providers.credentials import Credentials
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter
from shared.ports.rail import (
    CHARGE_OVER,
    ChargeOrder,
    ChargeRevision,
    ChargeState,
    FraudReport,
    OutcomeUnknown,
    PayableCharge,
    RailRefused,
    Receipt,
    ReceiptPage,
    ReturnOrder,
    ReturnState,
    StaticCodeOrder,
    UnreadableReport,
)

if TYPE_CHECKING:
    import httpx

    from shared.adapters.providers.client import ProviderClient

CHARGE_SECONDS: Final = 86_400
MAX_NOTE: Final = 140
"""The longest text for the payer (`solicitacaoPagador`), in characters."""
PAGE_SIZE: Final = 100
ACTIVE: Final = "ATIVA"
REMOVED: Final = "REMOVIDA_PELO_USUARIO_RECEBEDOR"
"""The status of a charge that the receiver has withdrawn."""
NO_REPORT: Final = "InfractionReportNotFound"
"""The kind of problem by which a provider says that it does not know a report of fraud."""
DEFAULT_KEY: Final = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"
"""The default PIX key of the receiver, a random one (EVP)."""


DEFAULT_CITY: Final = "SAO PAULO"
"""The default city of the receiver, in static codes."""
DEFAULT_ISPB: Final = "99999004"
"""The default id of the provider at the Banco Central (ISPB): the simulator's."""


class PixHttpRail(Adapter):
    """The PIX API of one provider.

    `base_url` is the URL of its API. If it is empty, no provider is configured: callbacks are read, and commands raise
    Unavailable. `key` is our PIX key there, `city` the city of its
    owner, and `ispb` the id of the provider. `client` is the HTTP client, which is
    closed with the rail; by default one is created at first use.
    """

    adapter_name = "PIX rail"
    title = "PIX"
    currency = CURRENCY
    max_amount = MAX_AMOUNT

    def __init__(
        self,
        base_url: str,
        key: str = DEFAULT_KEY,
        client: httpx.AsyncClient | None = None,
        credentials: Credentials | None = None,
        ispb: str = DEFAULT_ISPB,
        city: str = DEFAULT_CITY,
    ) -> None:
        self._base_url = base_url
        self._key = key or DEFAULT_KEY
        self._city = city or DEFAULT_CITY
        self._credentials = credentials or Credentials()
        self._http = client
        # Made at the first request, because most functions send none.
        self._api: ProviderClient | None = None
        self._webhook: str | None = None
        self.payments = PixPayments(
            ispb or DEFAULT_ISPB, self._key, self._command, self._set_webhook, is_configured=bool(base_url)
        )
        """The payments out of the same provider, with the same connections and access tokens."""

    @property
    def is_configured(self) -> bool:
        """Whether a provider is configured."""
        return bool(self._base_url)

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        """Request a charge with `reference` as its txid and `amount` in centavos. See shared.ports.rail.Rail."""
        self._require_provider()
        if currency != CURRENCY:
            raise RailRefused("currency", f"PIX moves {CURRENCY}, not {currency}.")
        await self._set_webhook(callback_url)
        charge = self._charge(amount, CHARGE_SECONDS)
        charge["infoAdicionais"] = [DEPOSIT_NOTE]
        await self._put_charge(reference, charge)

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        """Create an immediate charge (`cob`), or one with a due date (`cobv`). See shared.ports.rail.Rail.

        The payer sees the first 140 characters of the description.
        """
        self._require_provider()
        await self._set_webhook(order.callback_url)
        if order.due is None:
            charge = self._charge(order.amount, order.expires_in)
        else:
            from shared.adapters.pix.due_charges import due_charge

            charge = {**due_charge(order.amount, order.due), "chave": self._key}
        if order.description:
            charge["solicitacaoPagador"] = _note(order.description)
        answer = await self._put_charge(order.reference, charge, is_due=order.due is not None)
        return _payable(charge, answer)

    async def static_code(self, order: StaticCodeOrder) -> str:
        """Return a static code of the receiver's key. See shared.ports.rail.Rail.

        The provider is told the webhook only: a static code is not registered there. A payer's bank shows the name
        that belongs to the key.
        """
        from shared.adapters.pix.br_code import fitted_name, static_code

        self._require_provider()
        await self._set_webhook(order.callback_url)
        name = fitted_name(order.name)
        return static_code(self._key, name, self._city, amount=order.amount, txid=order.reference)

    async def revise_charge(self, revision: ChargeRevision) -> None:
        """Change an active charge (`PATCH /cob/{txid}`, `PATCH /cobv/{txid}`). See shared.ports.rail.Rail."""
        change: dict[str, Any] = {}
        if revision.due is not None:
            from shared.adapters.pix.due_charges import calendar_and_value

            assert revision.amount is not None, "the terms of a charge with a due date include its amount"
            change = calendar_and_value(revision.amount, revision.due)
        elif revision.amount is not None:
            change["valor"] = {"original": format_amount(revision.amount)}
        if revision.expires_in is not None:
            change["calendario"] = {"expiracao": revision.expires_in}
        if revision.description is not None:
            change["solicitacaoPagador"] = _note(revision.description)
        await self._patch_charge(revision.reference, change, is_due=revision.due is not None)

    async def remove_charge(self, reference: str, *, is_due: bool = False) -> None:
        """Remove a charge (`PATCH /cob/{txid}`, `PATCH /cobv/{txid}`). See shared.ports.rail.Rail."""
        await self._patch_charge(reference, {"status": REMOVED}, is_due=is_due)

    async def request_return(self, order: ReturnOrder) -> ReturnState:
        """Return a payment, or a part of it (`PUT /pix/{e2eid}/devolucao/{id}`). See shared.ports.rail.Rail.

        The payer sees the first 140 characters of the reason.
        """
        self._require_provider()
        wanted: dict[str, Any] = {"valor": format_amount(order.amount)}
        if order.reason:
            wanted["descricao"] = _note(order.reason)
        if order.is_fraud:
            wanted["natureza"] = "MED_FRAUDE"
        unknown: OutcomeUnknown | None = None
        answer: httpx.Response | None = None
        try:
            answer = await self._send("PUT", f"/pix/{order.payment_id}/devolucao/{order.reference}", wanted)
        except OutcomeUnknown as error:
            unknown = error
        if answer is not None and answer.is_success:
            return _return_state(answer, order.amount)
        # It may have been made; and some providers refuse a known id, even when the return is the same.
        present = await self._send("GET", f"/pix/{order.payment_id}/devolucao/{order.reference}")
        if present.is_success:
            return _return_state(present, order.amount)
        raise unknown or _refused(answer or present)

    async def return_state(self, payment_id: str, reference: str) -> ReturnState | None:
        """Return what the provider says of a return (`GET /pix/{e2eid}/devolucao/{id}`). See shared.ports.rail.Rail."""
        self._require_provider()
        answer = await self._send("GET", f"/pix/{payment_id}/devolucao/{reference}")
        if answer.status_code == 404:
            return None
        if not answer.is_success:
            raise _refused(answer)
        return _return_state(answer, None)

    async def answer_fraud_report(self, report_id: str, is_accepted: bool, reason: str | None) -> None:
        """Close a report of fraud (`POST /infraction-reports/{id}/close`). See shared.ports.rail.Rail.

        The API Pix has no message for it; this one has the words of DICT's API (InfractionReport).
        """
        self._require_provider()
        decision = {"analysisResult": "AGREED" if is_accepted else "DISAGREED", "analysisDetails": reason or ""}
        answer = await self._send("POST", f"/infraction-reports/{report_id}/close", decision, missing=NO_REPORT)
        if not answer.is_success:
            raise _refused(answer)

    def read_fraud_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[FraudReport]:
        """Authenticate and read reports of fraud. See shared.ports.rail.Rail."""
        # Imported here, because only the function that receives them needs them.
        from shared.adapters.pix.fraud_reports import read_reports
        from shared.adapters.providers.callback_signature import verify

        verify(secret, headers, body, now, window_seconds)
        return read_reports(body)

    async def charge_state(self, reference: str, *, is_due: bool = False) -> ChargeState | None:
        """Return what the provider knows of a charge (`GET /cob/{txid}`, `GET /cobv/{txid}`). See
        shared.ports.rail.Rail."""
        self._require_provider()
        answer = await self._send("GET", _place(reference, is_due=is_due))
        if answer.status_code == 404:
            return None
        if not answer.is_success:
            raise _refused(answer)
        document = _object(answer)
        status = str(document.get("status"))
        receipts = read_payments(document.get("pix") or [])
        return ChargeState(is_removed=status.startswith("REMOVIDA"), receipts=receipts)

    async def received(self, since: datetime, until: datetime, page: int) -> ReceiptPage:
        """Return a page of the payments of a period (`GET /pix`). See shared.ports.rail.Rail."""
        self._require_provider()
        parameters = {
            "inicio": format_time(since),
            "fim": format_time(until),
            "paginacao.paginaAtual": str(page),
            "paginacao.itensPorPagina": str(PAGE_SIZE),
        }
        answer = await self._send("GET", "/pix", parameters=parameters)
        if not answer.is_success:
            raise _refused(answer)
        document = _object(answer)
        try:
            pages = int(document["parametros"]["paginacao"]["quantidadeDePaginas"])
        except (KeyError, TypeError, ValueError):
            raise Unavailable("the PIX provider answered with a page without its number of pages") from None
        return ReceiptPage(read_payments(document.get("pix") or []), page + 1 < pages)

    def _charge(self, amount: int, expires_in: int) -> dict[str, Any]:
        return {
            "calendario": {"expiracao": expires_in},
            "valor": {"original": format_amount(amount)},
            "chave": self._key,
        }

    async def _put_charge(self, reference: str, charge: dict[str, Any], *, is_due: bool = False) -> httpx.Response:
        """Create a charge, and return the answer that shows it. A charge that exists already is returned if it is the
        same."""
        unknown: OutcomeUnknown | None = None
        answer: httpx.Response | None = None
        try:
            answer = await self._send("PUT", _place(reference, is_due=is_due), charge)
        except OutcomeUnknown as error:
            unknown = error
        if answer is not None and answer.is_success:
            return answer
        # It may have been created; and some providers refuse a known id, even when the charge is the same.
        present = await self._send("GET", _place(reference, is_due=is_due))
        if not present.is_success:
            raise unknown if answer is None and unknown is not None else _refused(answer or present)
        if _member(present, "valor", "original") != charge["valor"]["original"] or (
            is_due and not _includes(_object(present), {name: charge[name] for name in ("calendario", "valor")})
        ):
            raise RailRefused("txid", f"The provider has another charge of the id {reference}.")
        return present

    async def _patch_charge(self, reference: str, change: dict[str, Any], *, is_due: bool) -> None:
        """Change a charge. The charge is read when the outcome is unknown, and when the change is refused: it may have
        been made by an earlier command whose answer was lost."""
        self._require_provider()
        unknown: OutcomeUnknown | None = None
        answer: httpx.Response | None = None
        try:
            answer = await self._send("PATCH", _place(reference, is_due=is_due), change)
        except OutcomeUnknown as error:
            unknown = error
        if answer is not None and answer.is_success:
            return
        present = await self._send("GET", _place(reference, is_due=is_due))
        if not present.is_success:
            raise unknown or _refused(answer or present)
        document = _object(present)
        if _includes(document, change):
            return
        status = str(document.get("status"))
        if status != ACTIVE:
            raise RailRefused(CHARGE_OVER, f"The charge is {status} at the provider.")
        raise unknown or _refused(answer or present)

    def read_callback(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[Receipt]:
        """Authenticate and read a callback. See shared.ports.rail.Rail."""
        # Imported here, because only the function that receives callbacks needs them.
        from shared.adapters.pix.callbacks import read_receipts
        from shared.adapters.providers.callback_signature import verify

        verify(secret, headers, body, now, window_seconds)
        return read_receipts(body)

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        await super().aclose(seconds)
        if self._api is not None:
            await self._api.aclose()
        elif self._http is not None:
            await self._http.aclose()

    def _require_provider(self) -> None:
        self.require_open()
        if not self.is_configured:
            raise Unavailable("no PIX provider is set (LASTRO_PIX_RAIL)")

    async def _command(
        self, method: str, path: str, body: dict[str, Any] | None = None, parameters: dict[str, str] | None = None
    ) -> httpx.Response:
        self._require_provider()
        return await self._send(method, path, body, parameters)

    async def _set_webhook(self, url: str) -> None:
        self._require_provider()
        if self._webhook == url:
            return
        answer = await self._send("PUT", f"/webhook/{self._key}", {"webhookUrl": url})
        if not answer.is_success:
            raise _refused(answer)
        self._webhook = url

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        parameters: dict[str, str] | None = None,
        *,
        missing: str | None = None,
    ) -> httpx.Response:
        """Send a request. `missing` is the kind of problem by which a 404 says that the provider does not know what the
        command is about; another 404 to a command raises Unavailable, as no answer does."""
        if self._api is None:
            from shared.adapters.providers.client import ProviderClient

            self._api = ProviderClient("PIX provider", self._base_url, self._credentials, self._http)
        try:
            answer = await self._api.send(method, path, body, parameters)
        except Unavailable:
            # The provider may have lost the webhook too; the next command sets it again.
            self._webhook = None
            raise
        if answer.status_code == 404 and method != "GET" and (missing is None or _kind(answer) != missing):
            # The URL is wrong or the API is not there; this says nothing about the charge.
            self._webhook = None
            raise Unavailable("the PIX provider answered 404")
        return answer


def read_payments(values: Any) -> Sequence[Receipt]:
    """Return the payments in an answer of the provider. Raises Unavailable for a list that cannot be read."""
    from shared.adapters.pix.callbacks import receipts_of

    try:
        return receipts_of(values)
    except UnreadableReport as error:
        raise Unavailable(f"the PIX provider answered with payments that cannot be read: {error}") from None


def _return_state(answer: httpx.Response, amount: int | None) -> ReturnState:
    """Return the state of a return. Raises Unavailable for an answer that cannot be read, or about another amount."""
    from shared.adapters.pix.returns import read_return

    try:
        state = read_return(_object(answer))
    except UnreadableReport as error:
        raise Unavailable(f"the PIX provider answered with a return that cannot be read: {error}") from None
    if amount is not None and state.amount != amount:
        raise Unavailable(f"the PIX provider has another return of the id {state.reference}")
    return state


def _place(reference: str, *, is_due: bool) -> str:
    """Return the path of a charge at the provider."""
    return f"/{'cobv' if is_due else 'cob'}/{reference}"


def _note(text: str) -> str:
    """Return the beginning of a text that the rail shows to the payer."""
    return text if len(text) <= MAX_NOTE else f"{text[: MAX_NOTE - 1]}…"


def _includes(document: Any, change: Any) -> bool:
    """Return whether a document has every member of a change, with the same values. Some providers write a number of
    the specification's schema as text."""
    if isinstance(change, dict):
        return isinstance(document, dict) and all(
            _includes(document.get(name), value) for name, value in change.items()
        )
    if isinstance(change, list):
        return isinstance(document, list) and len(document) == len(change) and all(map(_includes, document, change))
    return document is not None and str(document) == str(change)


def _payable(charge: dict[str, Any], answer: httpx.Response) -> PayableCharge:
    """Return the code and the location of a charge. Raises Unavailable when the provider's answer lacks them."""
    from shared.adapters.pix.br_code import InvalidBrCode, parse_br_code
    from shared.adapters.pix.masking import masked

    code = _member(answer, "pixCopiaECola")
    try:
        read = None if code is None else parse_br_code(code)
    except InvalidBrCode as error:
        raise Unavailable(f"the PIX provider answered with an invalid BR Code: {error}") from None
    if code is None or read is None or read.location is None:
        raise Unavailable("the PIX provider answered without a dynamic BR Code (pixCopiaECola)")
    exchange = {"request": masked(charge), "status": answer.status_code, "answer": masked(_object(answer))}
    return PayableCharge(code, read.location, exchange)


def _object(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON object. Raises Unavailable for another value."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unavailable("the PIX provider's answer is not a JSON object")
    return value


def _refused(answer: httpx.Response) -> RailRefused:
    return RailRefused(_kind(answer), _member(answer, "detail") or "The PIX provider refused the command.")


def _kind(answer: httpx.Response) -> str:
    """Return the kind of problem that the provider's answer is: the end of its `type`."""
    return (_member(answer, "type") or f"http_{answer.status_code}").rpartition("/")[2]


def _member(answer: httpx.Response, *names: str) -> str | None:
    """Return a string member of the answer's JSON, or None."""
    try:
        value = answer.json()
    except ValueError:
        return None
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
