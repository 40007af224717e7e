"""The card gateway over HTTP (docs/cards.md has its protocol).

Without an answer the outcome is unknown: the adapter asks for the payment by our id, and raises OutcomeUnknown when
that shows no effect or is not answered either. It is never a refusal. A retry is safe, because each command has an
idempotency key, which has our id of the payment, capture or refund.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.card.captures import CardCaptures
from shared.adapters.card.formats import CURRENCY, MAX_AMOUNT
from shared.adapters.providers.credentials import Credentials
from shared.core.clock import format_time
from shared.ports.card_gateway import AuthorizationOrder, CardEvent, CardPayment, SettlementPage
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter
from shared.ports.rail import OutcomeUnknown, RailRefused, UnreadableReport

if TYPE_CHECKING:
    import httpx

    from shared.adapters.providers.client import ProviderClient

TITLE: Final = "card gateway"
IDEMPOTENCY_HEADER: Final = "idempotency-key"
PAGE_SIZE: Final = 100
MAX_DESCRIPTION: Final = 140
"""The longest description of a payment at the gateway, in characters."""
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class CardHttpGateway(Adapter):
    """The API of one card gateway. See shared.ports.card_gateway.CardGateway.

    `base_url` is the URL of its API. If it is empty, no gateway is configured: callbacks are read, and commands raise
    Unavailable. `client` is the HTTP client, which is closed with the gateway; by default one is created at first use.
    """

    adapter_name = "card gateway"
    title = "card"
    currency = CURRENCY
    max_amount = MAX_AMOUNT

    def __init__(
        self, base_url: str, client: httpx.AsyncClient | None = None, credentials: Credentials | None = None
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials or Credentials()
        self._http = client
        # Made at the first request, because most functions send none.
        self._api: ProviderClient | None = None

    @cached_property
    def captures(self) -> CardCaptures:
        """The captures of authorized payments, as payments over a rail."""
        return CardCaptures(self)

    @property
    def is_configured(self) -> bool:
        return bool(self._base_url)

    async def authorize(self, order: AuthorizationOrder) -> CardPayment:
        body: dict[str, Any] = {
            "reference": order.reference,
            "amount": order.amount,
            "currency": order.currency,
            "token": order.token,
            "callback_url": order.callback_url,
        }
        if order.description:
            text = order.description
            body["description"] = text if len(text) <= MAX_DESCRIPTION else f"{text[: MAX_DESCRIPTION - 1]}…"
        return await self._command(
            "/v1/payments",
            body,
            key=f"authorize/{order.reference}",
            payment=order.reference,
            is_done=lambda _found: True,
        )

    async def payment(self, reference: str) -> CardPayment | None:
        answer = await self._send("GET", "/v1/payments", parameters={"reference": reference})
        if not answer.is_success:
            raise _refused(answer)
        found = _json(answer)
        data = found.get("data") if isinstance(found, dict) else None
        if not isinstance(data, list):
            raise Unavailable("the card gateway answered without a list of payments")
        return _payment(data[0]) if data else None

    async def capture(self, payment_id: str, reference: str, amount: int) -> CardPayment:
        body = {"reference": reference, "amount": amount}
        return await self._command(
            f"/v1/payments/{payment_id}/captures",
            body,
            key=f"capture/{reference}",
            payment_id=payment_id,
            is_done=lambda found: found.capture is not None and found.capture.reference == reference,
        )

    async def cancel(self, payment_id: str, reference: str) -> CardPayment:
        return await self._command(
            f"/v1/payments/{payment_id}/cancel",
            {},
            key=f"cancel/{reference}",
            payment_id=payment_id,
            is_done=lambda found: found.status == "canceled",
        )

    async def refund(self, payment_id: str, reference: str, amount: int) -> CardPayment:
        body = {"reference": reference, "amount": amount}
        return await self._command(
            f"/v1/payments/{payment_id}/refunds",
            body,
            key=f"refund/{reference}",
            payment_id=payment_id,
            is_done=lambda found: any(refund.reference == reference for refund in found.refunds),
        )

    async def settlements(self, since: datetime, until: datetime, page: int) -> SettlementPage:
        parameters = {
            "from": format_time(since),
            "to": format_time(until),
            "page": str(page),
            "page_size": str(PAGE_SIZE),
        }
        answer = await self._send("GET", "/v1/settlements", parameters=parameters)
        if not answer.is_success:
            raise _refused(answer)
        from shared.adapters.card.reports import read_settlements

        try:
            report = read_settlements(_json(answer))
        except UnreadableReport as error:
            raise _unreadable(error) from None
        return SettlementPage([line.line() for line in report.data], report.has_more)

    def read_callback(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> CardEvent:
        # Imported here, because only the function that receives callbacks needs them.
        from shared.adapters.card.callbacks import read_event
        from shared.adapters.providers.callback_signature import verify

        verify(secret, headers, body, now, window_seconds)
        return read_event(body)

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        await super().aclose(seconds)
        if self._api is not None:
            await self._api.aclose()
        elif self._http is not None:
            await self._http.aclose()

    async def _command(
        self,
        path: str,
        body: dict[str, Any],
        *,
        key: str,
        is_done: Callable[[CardPayment], bool],
        payment: str | None = None,
        payment_id: str | None = None,
    ) -> CardPayment:
        """Send a command, and return the payment after it. `is_done` tells whether a payment shows the command's
        effect; it is looked for when the answer does not arrive."""
        try:
            answer = await self._send("POST", path, body, headers={IDEMPOTENCY_HEADER: key})
        except OutcomeUnknown:
            found = await self.payment(payment) if payment is not None else await self._by_id(payment_id or "")
            if found is None or not is_done(found):
                raise
            return found
        if answer.status_code == 404 and _code(answer) is None:
            # The URL is wrong or the API is not there; this says nothing about the payment.
            raise Unavailable("the card gateway answered 404")
        if not answer.is_success:
            raise _refused(answer)
        return _payment(_json(answer))

    async def _by_id(self, payment_id: str) -> CardPayment | None:
        answer = await self._send("GET", f"/v1/payments/{payment_id}")
        return _payment(_json(answer)) if answer.is_success else None

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        parameters: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        self.require_open()
        if not self.is_configured:
            raise Unavailable("no card gateway is set (LASTRO_CARD_GATEWAY)")
        if self._api is None:
            from shared.adapters.providers.client import ProviderClient

            self._api = ProviderClient(TITLE, self._base_url, self._credentials, self._http)
        return await self._api.send(method, path, body, parameters, headers)


def _payment(value: Any) -> CardPayment:
    """Return the payment of an answer. Raises OutcomeUnknown for an answer that cannot be read: the command may have
    had an effect."""
    from shared.adapters.card.reports import read_payment

    try:
        return read_payment(value)
    except UnreadableReport as error:
        raise _unreadable(error) from None


def _unreadable(error: UnreadableReport) -> OutcomeUnknown:
    return OutcomeUnknown(f"the card gateway answered with a report that cannot be read: {error}")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise OutcomeUnknown("the card gateway's answer is not JSON") from None


def _refused(answer: httpx.Response) -> RailRefused:
    """Return the refusal of an answer: its code, and its text without card numbers."""
    from shared.core.card_numbers import without_card_numbers

    detail = _member(answer, "detail") or "The card gateway refused the command."
    return RailRefused(_code(answer) or f"http_{answer.status_code}", without_card_numbers(detail))


def _code(answer: httpx.Response) -> str | None:
    """Return the gateway's code of a refusal, or None when the answer has none."""
    code = _member(answer, "code")
    return code if code is not None and _CODE.fullmatch(code) else None


def _member(answer: httpx.Response, name: str) -> str | None:
    try:
        value = answer.json()
    except ValueError:
        return None
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, str) else None
