"""Transfers by the API of a partner bank, over HTTP.

| request | |
|---|---|
| `PUT /transfers/{reference}` | orders a transfer; a repeated order has no further effect |
| `GET /transfers/{reference}` | what the bank knows of it |
| `GET /transfers?from&to&page&size` | the transfers whose status has changed in a period, oldest first |

Partner banks have no common protocol: this is the smallest one that is safe to repeat. Without an answer the outcome is
unknown: the rail reads the transfer by our reference, and raises OutcomeUnknown when that is not answered either, or
when the bank does not know the transfer: the order may still arrive. It is never a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.providers.credentials import Credentials
from shared.core.clock import format_time
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter
from shared.ports.rail import OutcomeUnknown, RailRefused, UnreadableReport
from shared.ports.rail_payments import InvalidReceiver, RailOrder, RailReport

if TYPE_CHECKING:
    import httpx

    from shared.adapters.providers.client import ProviderClient

CURRENCY: Final = "BRL"
MAX_AMOUNT: Final = 999_999_999_999_999
"""The greatest amount in centavos: the fifteen digits of an amount in a CNAB 240 file."""
MAX_DESCRIPTION: Final = 140
REFERENCE_LENGTH: Final = 20
PAGE_SIZE: Final = 100
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


class HttpBankTransfers(Adapter):
    """The API of one partner bank.

    `base_url` is the URL of its API. If it is empty, no bank is configured: callbacks are read, and orders raise
    Unavailable. `client` is the HTTP client, which is closed with the rail; by default one is created at first use.
    """

    adapter_name = "bank transfer rail"
    title = "The partner bank"
    currency = CURRENCY
    max_amount = MAX_AMOUNT
    changes_for = timedelta(0)

    def __init__(
        self,
        base_url: str,
        client: httpx.AsyncClient | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = credentials or Credentials()
        self._http = client
        # Made at the first request, because most functions send none.
        self._api: ProviderClient | None = None

    @property
    def is_configured(self) -> bool:
        """Whether a partner bank is configured."""
        return bool(self._base_url)

    def shown_receiver(self, receiver: Mapping[str, str], amount: int) -> dict[str, str]:
        """Check the account that receives the money, and return it masked. See
        shared.ports.rail_payments.PaymentRail."""
        from shared.adapters.bank_transfer.accounts import shown_account

        if amount > MAX_AMOUNT:
            raise InvalidReceiver("amount", f"a bank transfer moves at most {MAX_AMOUNT} centavos")
        return shown_account(receiver)

    def reference(self, tenant_id: str, payment_id: str, at: datetime) -> str:  # noqa: ARG002 - other rails need it
        """Return twenty capital letters and digits, which fit into the field of a settlement file (CNAB 240, G064).

        They are 100 bits of a digest. See shared.ports.rail_payments.PaymentRail.
        """
        from base64 import b32encode
        from hashlib import sha256

        digest = sha256(f"{tenant_id}/{payment_id}".encode()).digest()
        return b32encode(digest)[:REFERENCE_LENGTH].decode()

    async def send(self, order: RailOrder) -> RailReport:
        """Order a transfer (`PUT /transfers/{reference}`). See shared.ports.rail_payments.PaymentRail.

        The receiver sees the first 140 characters of the description. The report has what was sent and answered.
        """
        self._require_bank()
        body = _body(order)
        path = f"/transfers/{order.reference}"
        try:
            answer = await self._send("PUT", path, body)
        except OutcomeUnknown as unknown:
            answer = await self._after(unknown, path)
        if answer.status_code == 409:
            # The reference is known: for the same order at some banks, or for another one, which is not made.
            known = await self._send("GET", path)
            answer = known if known.is_success else answer
        if not answer.is_success:
            raise _refused(answer)
        return _sent(order, body, answer)

    async def _after(self, unknown: OutcomeUnknown, path: str) -> httpx.Response:
        """Return the transfer of an order that was not answered.

        Raises `unknown` when the bank does not know it, because the order can still be on its way, or does not answer.
        """
        try:
            answer = await self._send("GET", path)
        except Unavailable:
            raise unknown from None
        if not answer.is_success:
            raise unknown
        return answer

    async def state(self, reference: str) -> RailReport | None:
        """Return what the bank knows of a transfer (`GET /transfers/{reference}`). See
        shared.ports.rail_payments.PaymentRail."""
        self._require_bank()
        answer = await self._send("GET", f"/transfers/{reference}")
        if answer.status_code == 404:
            return None
        if not answer.is_success:
            raise Unavailable(f"the partner bank answered {answer.status_code} to a question")
        return _reports([_object(answer)])[0]

    async def changed(self, since: datetime, until: datetime, page: int) -> tuple[Sequence[RailReport], bool]:
        """Return a page of the transfers that have changed in a period (`GET /transfers`), oldest change first. See
        shared.ports.rail_payments.ListingRail."""
        self._require_bank()
        parameters = {
            "from": format_time(since),
            "to": format_time(until),
            "page": str(page),
            "size": str(PAGE_SIZE),
        }
        answer = await self._send("GET", "/transfers", parameters=parameters)
        if not answer.is_success:
            raise Unavailable(f"the partner bank answered {answer.status_code} to a question")
        document = _object(answer)
        has_more = document.get("has_more")
        if not isinstance(has_more, bool):
            raise Unavailable("the partner bank answered with a page that does not say whether it is the last")
        return _reports(document.get("transfers")), has_more

    def read_reports(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[RailReport] | None:
        """Authenticate and read a callback; all of them are about payments. See
        shared.ports.rail_payments.PaymentRail."""
        # Imported here, because only the function that receives callbacks needs them.
        from shared.adapters.bank_transfer.reports import read_callback_body
        from shared.adapters.providers.callback_signature import verify

        verify(secret, headers, body, now, window_seconds)
        return read_callback_body(body)

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        await super().aclose(seconds)
        if self._api is not None:
            await self._api.aclose()
        elif self._http is not None:
            await self._http.aclose()

    def _require_bank(self) -> None:
        self.require_open()
        if not self.is_configured:
            raise Unavailable("no partner bank is set (LASTRO_BANK_RAIL)")

    async def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, parameters: dict[str, str] | None = None
    ) -> httpx.Response:
        if self._api is None:
            from shared.adapters.providers.client import ProviderClient

            self._api = ProviderClient("partner bank", self._base_url, self._credentials, self._http)
        answer = await self._api.send(method, path, body, parameters)
        if answer.status_code == 404 and method != "GET":
            # The URL is wrong or the API is not there; this says nothing about the transfer.
            raise Unavailable("the partner bank answered 404")
        return answer


def _body(order: RailOrder) -> dict[str, Any]:
    text = order.description
    if text is not None and len(text) > MAX_DESCRIPTION:
        text = f"{text[: MAX_DESCRIPTION - 1]}…"
    body = {
        "amount": {"value": order.amount, "currency": CURRENCY},
        "creditor": dict(order.receiver),
        "callback_url": order.callback_url,
    }
    return body if text is None else {**body, "description": text}


def _sent(order: RailOrder, body: dict[str, Any], answer: httpx.Response) -> RailReport:
    """Return the transfer of an answer to an order. Raises Unavailable for the answer to another order."""
    from shared.adapters.bank_transfer.masking import masked

    document = _object(answer)
    report = _reports([document])[0]
    if report.reference != order.reference:
        raise Unavailable("the partner bank answered with another transfer")
    exchange = {"request": masked(body), "status": answer.status_code, "answer": report.report}
    return report._replace(report=exchange)


def _reports(values: Any) -> list[RailReport]:
    """Return the transfers of an answer. Raises Unavailable for what cannot be read."""
    from shared.adapters.bank_transfer.reports import reports_of

    try:
        return reports_of(values)
    except UnreadableReport as error:
        raise Unavailable(f"the partner bank answered with transfers that cannot be read: {error}") from None


def _object(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON object. Raises Unavailable for another value."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unavailable("the partner bank's answer is not a JSON object")
    return value


def _refused(answer: httpx.Response) -> RailRefused:
    """Return the refusal of an answer with the bank's code. The bank's text is left out: it may name the receiver."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    code = value.get("code") if isinstance(value, dict) else None
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        code = f"http_{answer.status_code}"
    return RailRefused(code, "The partner bank refused the transfer.")
