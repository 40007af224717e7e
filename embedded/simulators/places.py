"""The terms of BR Codes on one machine: those of the simulated provider are read inside the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from embedded.simulators.pix import PREFIX
from shared.http.messages import HttpRequest
from shared.ports.outgoing import Outgoing, OutgoingAnswer, OutgoingDocument

if TYPE_CHECKING:
    from embedded.gateway.gateway import Gateway
    from embedded.simulators.addresses import OwnAddresses


class OwnPlaces:
    """Reads what the simulated provider serves through the gateway of this process, without a socket; sends everything
    else with `elsewhere`.

    Only paths of the simulator are read so: a code cannot name another path of the platform. What the simulator does
    not know under an earlier address of the platform is read there: another platform may have the address now.
    """

    def __init__(self, elsewhere: Outgoing, gateway: Gateway, addresses: OwnAddresses) -> None:
        self._elsewhere = elsewhere
        self._gateway = gateway
        self._addresses = addresses
        self._own = urlsplit(addresses.present)

    async def refusal(self, url: str) -> str | None:
        """Return why the platform does not send to this URL, or None."""
        return await self._elsewhere.refusal(url)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> OutgoingAnswer:
        """Send a POST elsewhere."""
        return await self._elsewhere.post(url, headers, body)

    async def get(self, url: str, headers: Mapping[str, str]) -> OutgoingDocument:
        """Return what the simulator serves, or the response from elsewhere."""
        parts = urlsplit(url)
        if not self._is_own(parts.netloc, parts.path):
            return await self._elsewhere.get(url, headers)
        response = await self._gateway.handle(HttpRequest("GET", parts.path, parts.query, dict(headers), b""))
        if response.status == 404 and parts.netloc != self._own.netloc:
            return await self._elsewhere.get(url, headers)
        return OutgoingDocument(response.status, None, response.body)

    def url_of(self, location: str) -> str:
        """Return the URL of a location: with the platform's own scheme for the simulator's."""
        parts = urlsplit(f"//{location}")
        if self._is_own(parts.netloc, parts.path):
            return f"{self._own.scheme}://{location}"
        return self._elsewhere.url_of(location)

    def _is_own(self, netloc: str, path: str) -> bool:
        is_own = netloc == self._own.netloc or self._addresses.is_earlier(netloc)
        return is_own and path.startswith(f"{PREFIX}/")
