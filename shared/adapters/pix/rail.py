"""The PIX rail over HTTP: immediate charges (`cob`) of the API Pix of Banco Central do Brasil.

An answer that does not come says nothing about its outcome, so it is Unavailable and never a refusal. Asking again is
safe: a charge has the id that we chose for it, and a second one of the same id is not made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.adapters.pix.formats import format_amount
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS: Final = 10.0
CHARGE_SECONDS: Final = 86_400
DEFAULT_KEY: Final = "7d9f0335-8dcc-4054-9bf9-0dbd61d36906"
"""The receiver's PIX key (a random one, EVP) of a platform that was given no other."""

# What these say is about us or about now, not about the charge.
_NO_ANSWER: Final = frozenset({401, 403, 404, 408, 425, 429})


class PixHttpRail:
    """Charges at one provider. `client` is used when given, else one is made at first use."""

    def __init__(self, base_url: str, key: str = DEFAULT_KEY, client: httpx.AsyncClient | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._client = client
        self._webhook: str | None = None

    async def request_charge(self, reference: str, amount: int, currency: str, callback_url: str) -> None:
        """Ask for a charge with `reference` as its txid, `amount` in centavos. See shared.ports.rail.Rail."""
        if currency != "BRL":
            raise RailRefused("currency", f"PIX moves BRL, not {currency}.")
        await self._tell_webhook(callback_url)
        original = format_amount(amount)
        charge: dict[str, Any] = {
            "calendario": {"expiracao": CHARGE_SECONDS},
            "valor": {"original": original},
            "chave": self._key,
        }
        answer = await self._send("PUT", f"/cob/{reference}", charge)
        if answer.is_success:
            return
        # Some providers refuse an id that they have, be it for the very same charge.
        present = await self._send("GET", f"/cob/{reference}")
        if not present.is_success:
            raise _refused(answer)
        if _member(present, "valor", "original") != original:
            raise RailRefused("txid", f"The provider has another charge of the id {reference}.")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _tell_webhook(self, url: str) -> None:
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


def _refused(answer: httpx.Response) -> RailRefused:
    kind = _member(answer, "type") or f"http_{answer.status_code}"
    return RailRefused(kind.rpartition("/")[2], _member(answer, "detail") or "The PIX provider refused the charge.")


def _member(answer: httpx.Response, *names: str) -> str | None:
    """A text in the answer's JSON, or None."""
    try:
        value = answer.json()
    except ValueError:
        return None
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
