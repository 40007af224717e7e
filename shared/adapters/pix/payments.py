"""Payments by PIX at a provider's API: orders, their state, and the callbacks about them.

The API Pix of the Banco Central is for receivers and has no orders. Providers have added them in its form, under
`/pix/enviados/{endToEndId}`: the client chooses the end-to-end id, so an order can be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from shared.adapters.pix.formats import CURRENCY, MAX_AMOUNT, format_amount
from shared.adapters.pix.keys import key_kind, masked_key
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, RailRefused, UnreadableReport
from shared.ports.rail_payments import InvalidReceiver, RailOrder, RailReport

if TYPE_CHECKING:
    import httpx

    from shared.adapters.pix.br_code import BrCode
    from shared.ports.outgoing import Outgoing

Send = Callable[..., Awaitable["httpx.Response"]]
"""Called with a method, a path and a JSON body. Raises Unavailable, and OutcomeUnknown."""

PATH: Final = "/pix/enviados"
SENT_MEMBER: Final = "pixEnviados"
"""The member of a callback, and of a list, that has payments out; `pix` has the received ones."""
MAX_NOTE: Final = 140
PAGE_SIZE: Final = 100
RETURN_DAYS: Final = 90
"""For how many days a payment may be returned (Banco Central, Regulamento do Pix)."""
_ALPHANUMERIC: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SUFFIX: Final = 11


class PixPayments:
    """Payments out of one provider.

    `ispb` is the id of the provider, with which its end-to-end ids begin. `key` is the payer's PIX key.
    """

    title = "PIX"
    currency = CURRENCY
    max_amount = MAX_AMOUNT
    changes_for = timedelta(days=RETURN_DAYS)

    def __init__(
        self,
        ispb: str,
        key: str,
        send: Send,
        prepare: Callable[[str], Awaitable[None]],
        *,
        is_configured: bool = True,
    ) -> None:
        """`prepare` is called with the callback's URL before an order."""
        self.is_configured = is_configured
        self._ispb = ispb
        self._key = key
        self._send = send
        self._prepare = prepare

    def shown_receiver(self, receiver: Mapping[str, str], amount: int) -> dict[str, str]:
        """Check the form of a key, or a BR Code with its checksum and amount. See shared.ports.rail_payments."""
        key = receiver.get("key")
        if key is not None:
            if key_kind(key) is None:
                detail = "The key is not a CPF, CNPJ, phone (+55…), e-mail in lower case, or random key (UUID)"
                raise InvalidReceiver("key", detail)
            return {"key": masked_key(key)}
        text = receiver["br_code"]
        code = _readable(text)
        if code.location is not None:
            # The terms at the location decide, and the amount in the code does not count.
            return {"br_code": text}
        if code.key is None:
            raise InvalidReceiver("br_code", "The code is for recurring payments (Pix Automático) only")
        if code.amount is not None and code.amount != amount:
            detail = f"The code is of {code.amount} minor units, and the payment of {amount}"
            raise InvalidReceiver("br_code", detail)
        return {"br_code": text.replace(code.key, masked_key(code.key))}

    def reference(self, tenant_id: str, payment_id: str, at: datetime) -> str:
        """Return the end-to-end id: `E`, the provider's ISPB, the minute in UTC, and 11 letters and digits that derive
        from the payment."""
        number = int.from_bytes(sha256(f"{tenant_id}\n{payment_id}".encode()).digest(), "big")
        suffix = ""
        for _ in range(_SUFFIX):
            number, digit = divmod(number, len(_ALPHANUMERIC))
            suffix += _ALPHANUMERIC[digit]
        return f"E{self._ispb}{at.astimezone(UTC):%Y%m%d%H%M}{suffix}"

    async def read_terms(
        self, receiver: Mapping[str, str], amount: int, outgoing: Outgoing, now: datetime
    ) -> Mapping[str, str]:
        """Return the key that a BR Code means, and the txid. See shared.ports.rail_payments.DirectoryRail."""
        if "br_code" not in receiver:
            return receiver
        from shared.adapters.pix.terms import read_terms

        code = _readable(receiver["br_code"])
        if code.location is None:
            assert code.key is not None, "the receiver was checked when the payment was made"
            return {"key": code.key} if code.txid is None else {"key": code.key, "txid": code.txid}
        terms = await read_terms(code.location, amount, outgoing, now)
        return {"key": terms.key} if terms.txid is None else {"key": terms.key, "txid": terms.txid}

    async def look_up(self, receiver: Mapping[str, str], payer: str) -> bool:
        """Ask DICT, through the provider, for a key (`GET /dict/{chave}`). See
        shared.ports.rail_payments.DirectoryRail."""
        asked_by = sha256(payer.encode()).hexdigest()[:32]
        answer = await self._send("GET", f"/dict/{quote(receiver['key'], safe='')}", parameters={"pagador": asked_by})
        if answer.status_code == 404:
            return False
        if not answer.is_success:
            raise Unavailable(f"the PIX provider answered {answer.status_code} to the look-up of a key")
        return True

    async def send(self, order: RailOrder) -> RailReport:
        """Order a payment (`PUT /pix/enviados/{endToEndId}`). See shared.ports.rail_payments.PaymentRail."""
        body: dict[str, Any] = {
            "valor": format_amount(order.amount),
            "pagador": {"chave": self._key},
            "favorecido": {"chave": order.receiver["key"]},
        }
        if "txid" in order.receiver:
            body["txid"] = order.receiver["txid"]
        if order.description:
            body["infoPagador"] = order.description[:MAX_NOTE]
        try:
            await self._prepare(order.callback_url)
        except (RailRefused, OutcomeUnknown) as error:
            # The order is not sent yet, so nothing about it is refused or unknown.
            raise Unavailable(f"the PIX provider did not take the callback's URL: {error}") from None
        try:
            answer = await self._send("PUT", f"{PATH}/{order.reference}", body)
        except OutcomeUnknown:
            # The order may have arrived.
            present = await self.state(order.reference)
            if present is None:
                raise
            return present
        if answer.is_success:
            return _report(answer)
        # Some providers refuse a known id, even when the order is the same.
        present = await self.state(order.reference)
        if present is None:
            raise _refused(answer)
        return present

    async def state(self, reference: str) -> RailReport | None:
        """Return the state of an order (`GET` of the same path). See shared.ports.rail_payments.PaymentRail."""
        answer = await self._send("GET", f"{PATH}/{reference}")
        if answer.status_code == 404:
            return None
        if not answer.is_success:
            # A refused question says nothing about the payment.
            raise Unavailable(f"the PIX provider answered {answer.status_code} to a question about a payment")
        return _report(answer)

    async def changed(self, since: datetime, until: datetime, page: int) -> tuple[Sequence[RailReport], bool]:
        """Return a page of the payments of a period that came back (`GET /pix/enviados` with `devolucaoPresente`). See
        shared.ports.rail_payments.ListingRail."""
        parameters = {
            "inicio": format_time(since),
            "fim": format_time(until),
            "devolucaoPresente": "true",
            "paginacao.paginaAtual": str(page),
            "paginacao.itensPorPagina": str(PAGE_SIZE),
        }
        answer = await self._send("GET", PATH, parameters=parameters)
        if not answer.is_success:
            raise Unavailable(f"the PIX provider answered {answer.status_code} to a question about payments")
        from shared.adapters.pix.payment_reports import reports_of

        try:
            document = answer.json()
            pages = int(document["parametros"]["paginacao"]["quantidadeDePaginas"])
            return reports_of(document[SENT_MEMBER]), page + 1 < pages
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"the PIX provider answered with a list that cannot be read: {error!r}") from None

    def read_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[RailReport] | None:
        """Read a callback with `pixEnviados`. See shared.ports.rail_payments.PaymentRail."""
        # Not parsed before it is authenticated. A callback about received payments cannot have this name outside a
        # text, and is read as such then.
        if f'"{SENT_MEMBER}"'.encode() not in body:
            return None
        from shared.adapters.pix.payment_reports import read_callback
        from shared.adapters.providers.callback_signature import verify

        verify(secret, headers, body, now, window_seconds)
        return read_callback(body)


def _readable(text: str) -> BrCode:
    """Return what a BR Code says. Raises InvalidReceiver."""
    from shared.adapters.pix.br_code import InvalidBrCode, parse_br_code

    try:
        return parse_br_code(text)
    except InvalidBrCode as error:
        reason = str(error)
        raise InvalidReceiver("br_code", reason[0].upper() + reason[1:]) from None


def _report(answer: httpx.Response) -> RailReport:
    """Return the report in an answer. Raises Unavailable when it cannot be read."""
    from shared.adapters.pix.payment_reports import report_of

    try:
        return report_of(answer.content)
    except UnreadableReport as error:
        raise Unavailable(f"the PIX provider answered with a payment that cannot be read: {error}") from None


def _refused(answer: httpx.Response) -> RailRefused:
    try:
        value = answer.json()
    except ValueError:
        value = None
    problem = value if isinstance(value, dict) else {}
    kind = str(problem.get("type") or f"http_{answer.status_code}").rpartition("/")[2]
    return RailRefused(kind, str(problem.get("detail") or "The PIX provider refused the payment."))
