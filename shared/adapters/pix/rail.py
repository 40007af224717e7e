"""The PIX rail over HTTP: immediate charges (`cob`) of the API Pix of Banco Central do Brasil.

Without an answer the outcome is unknown: that raises Unavailable and is never a refusal. A retry is safe, because the
platform chooses the id of a charge and the provider creates only one charge for an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.pix.br_code import InvalidBrCode, parse_br_code
from shared.adapters.pix.formats import CURRENCY, DEPOSIT_NOTE, MAX_AMOUNT, format_amount
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import CLOSE_SECONDS, Adapter
from shared.ports.rail import ChargeOrder, PayableCharge, RailRefused, Receipt

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 10.0
CHARGE_SECONDS: Final = 86_400
MAX_NOTE: Final = 140
"""The longest text for the payer (`solicitacaoPagador`), in characters."""
DEFAULT_KEY: Final = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"
"""The default PIX key of the receiver, a random one (EVP)."""

# These statuses concern the platform's access or a temporary state, not the charge.
_NO_ANSWER: Final = frozenset({401, 403, 404, 408, 425, 429})


class PixHttpRail(Adapter):
    """The PIX API of one provider.

    `base_url` is the URL of its API. If it is empty, no provider is configured: callbacks are read, and commands raise
    Unavailable. `client` is the HTTP client, which is closed with the rail; by default one is created at first use.
    """

    adapter_name = "PIX rail"
    title = "PIX"
    currency = CURRENCY
    max_amount = MAX_AMOUNT

    def __init__(self, base_url: str, key: str = DEFAULT_KEY, client: httpx.AsyncClient | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._client = client
        self._webhook: str | None = None

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        """Request a charge with `reference` as its txid and `amount` in centavos. See shared.ports.rail.Rail."""
        self.require_open()
        if currency != CURRENCY:
            raise RailRefused("currency", f"PIX moves {CURRENCY}, not {currency}.")
        if not self._base_url:
            raise Unavailable("no PIX provider is set (LASTRO_PIX_RAIL)")
        await self._set_webhook(callback_url)
        charge = self._charge(amount, CHARGE_SECONDS)
        charge["infoAdicionais"] = [DEPOSIT_NOTE]
        await self._put_charge(reference, charge)

    async def create_charge(self, order: ChargeOrder) -> PayableCharge:
        """Create an immediate charge (`cob`). See shared.ports.rail.Rail.

        The payer sees the first 140 characters of the description.
        """
        self.require_open()
        if not self._base_url:
            raise Unavailable("no PIX provider is set (LASTRO_PIX_RAIL)")
        await self._set_webhook(order.callback_url)
        charge = self._charge(order.amount, order.expires_in)
        if order.description:
            text = order.description
            charge["solicitacaoPagador"] = text if len(text) <= MAX_NOTE else f"{text[: MAX_NOTE - 1]}…"
        return _payable(await self._put_charge(order.reference, charge))

    def _charge(self, amount: int, expires_in: int) -> dict[str, Any]:
        return {
            "calendario": {"expiracao": expires_in},
            "valor": {"original": format_amount(amount)},
            "chave": self._key,
        }

    async def _put_charge(self, reference: str, charge: dict[str, Any]) -> httpx.Response:
        """Create a charge, and return the answer that shows it. A charge that exists already is returned if it is the
        same."""
        answer = await self._send("PUT", f"/cob/{reference}", charge)
        if answer.is_success:
            return answer
        # Some providers refuse a known id, even when the charge is the same.
        present = await self._send("GET", f"/cob/{reference}")
        if not present.is_success:
            raise _refused(answer)
        if _member(present, "valor", "original") != charge["valor"]["original"]:
            raise RailRefused("txid", f"The provider has another charge of the id {reference}.")
        return present

    def read_callback(
        self, headers: Mapping[str, str], body: bytes, *, secret: bytes, now: datetime, window_seconds: int
    ) -> Sequence[Receipt]:
        """Authenticate and read a callback. See shared.ports.rail.Rail."""
        # Imported here, because only the function that receives callbacks needs them.
        from shared.adapters.pix.callback_signature import verify
        from shared.adapters.pix.callbacks import read_receipts

        verify(secret, headers, body, now, window_seconds)
        return read_receipts(body)

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        await super().aclose(seconds)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _set_webhook(self, url: str) -> None:
        if self._webhook == url:
            return
        answer = await self._send("PUT", f"/webhook/{self._key}", {"webhookUrl": url})
        if not answer.is_success:
            raise _refused(answer)
        self._webhook = url

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(timeout=TIMEOUT_SECONDS)
        try:
            answer = await self._client.request(method, self._base_url + path, json=body)
        except httpx.HTTPError as error:
            self._webhook = None
            raise Unavailable(f"the PIX provider did not answer: {type(error).__name__}") from None
        if answer.status_code >= 500 or (answer.status_code in _NO_ANSWER and method != "GET"):
            self._webhook = None
            raise Unavailable(f"the PIX provider answered {answer.status_code}")
        return answer


def _payable(answer: httpx.Response) -> PayableCharge:
    """Return the code and the location of a charge. Raises Unavailable when the provider's answer lacks them."""
    code = _member(answer, "pixCopiaECola")
    try:
        read = None if code is None else parse_br_code(code)
    except InvalidBrCode as error:
        raise Unavailable(f"the PIX provider answered with an invalid BR Code: {error}") from None
    if code is None or read is None or read.location is None:
        raise Unavailable("the PIX provider answered without a dynamic BR Code (pixCopiaECola)")
    return PayableCharge(code, read.location)


def _refused(answer: httpx.Response) -> RailRefused:
    kind = _member(answer, "type") or f"http_{answer.status_code}"
    return RailRefused(kind.rpartition("/")[2], _member(answer, "detail") or "The PIX provider refused the charge.")


def _member(answer: httpx.Response, *names: str) -> str | None:
    """Return a string member of the answer's JSON, or None."""
    try:
        value = answer.json()
    except ValueError:
        return None
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
