"""SMS by a gateway's HTTP API: a POST of `{"id", "to", "from", "text"}` with a bearer token.

Gateways have different APIs; a small proxy adapts another one. The gateway sends a message of one `id` once.
"""

from __future__ import annotations

from typing import Final

import httpx

from shared.adapters.notifiers.choosing import GatewayAddress
from shared.ports.documents import Unavailable
from shared.ports.notifier import Message, MessageRefused

SECONDS: Final = 10.0
_REFUSALS: Final = frozenset({400, 404, 410, 422})


class SmsNotifier:
    """Sends SMS through one gateway. `sms+http` is for tests. `transport` replaces the network."""

    def __init__(self, address: GatewayAddress, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        port = "" if address.port is None else f":{address.port}"
        self._url = f"{address.scheme.removeprefix('sms+')}://{address.host}{port}{address.path or '/'}"
        self._token = address.password
        self._sender = address.sender

    async def send(self, message: Message) -> None:
        """Send an SMS. See shared.ports.notifier.Notifier."""
        headers = {} if self._token is None else {"authorization": f"Bearer {self._token}"}
        body = {"id": message.id, "to": message.to, "from": self._sender, "text": message.text}
        try:
            async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, transport=self._transport) as client:
                answer = await client.post(self._url, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"the SMS gateway did not answer: {type(error).__name__}") from None
        if answer.status_code in _REFUSALS:
            raise MessageRefused(f"http_{answer.status_code}")
        if not answer.is_success:
            raise Unavailable(f"the SMS gateway answered {answer.status_code}")
