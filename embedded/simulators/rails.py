"""The payment rails of one machine: the provider that the settings name, or its simulator behind the platform's
gateway.

Requests between the platform and its simulator pass through the gateway, in this process and without a socket. They
therefore work before the first connection is accepted and while the last connections are being closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import httpx

from embedded.simulators.addresses import FILE as ADDRESSES_FILE
from embedded.simulators.addresses import OwnAddresses
from embedded.simulators.bank import PREFIX as BANK_PREFIX
from embedded.simulators.bank import BankSimulator
from embedded.simulators.callbacks import HttpPost, callback_secret
from embedded.simulators.card import PREFIX as CARD_PREFIX
from embedded.simulators.card import CardSimulator
from embedded.simulators.pix import PREFIX, PixSimulator
from embedded.simulators.places import OwnPlaces
from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.pix.rail import PixHttpRail
from shared.http.messages import HttpRequest, read_headers

if TYPE_CHECKING:
    from embedded.gateway.gateway import Gateway
    from embedded.simulators.program import Simulator
    from shared.context.runtime import Runtime

JOURNAL_FILE: Final = "pix-simulator.jsonl"
CARD_JOURNAL_FILE: Final = "card-simulator.jsonl"
BANK_JOURNAL_FILE: Final = "bank-simulator.jsonl"


class OwnPost:
    """Posts to this platform inside the process, and to other addresses over HTTP."""

    def __init__(self, gateway: Gateway, addresses: OwnAddresses) -> None:
        self._gateway = gateway
        self._addresses = addresses
        self._elsewhere = HttpPost()

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status of the response. Raises OSError when there is none."""
        path = self._addresses.path_of(url)
        if path is None:
            return await self._elsewhere(url, headers, body)
        response = await self._gateway.handle(HttpRequest("POST", path, "", dict(headers), body))
        return response.status

    async def aclose(self) -> None:
        """Close the connections."""
        await self._elsewhere.aclose()


class OwnTransport(httpx.AsyncBaseTransport):
    """Sends the requests of an HTTP client to the gateway of this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request to the gateway, without a socket, and return the gateway's response."""
        headers, repeated = read_headers(request.headers.raw)
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        body = await request.aread()
        response = await self._gateway.handle(HttpRequest(request.method, path, query, headers, body, repeated))
        return httpx.Response(response.status, headers=response.headers, content=response.body)


async def add_rails(runtime: Runtime, gateway: Gateway, stack: AsyncExitStack) -> dict[str, Simulator]:
    """Add the rails that the settings do not name to the runtime. Return their simulators by name."""
    settings = runtime.settings
    simulators: dict[str, Simulator] = {}
    if settings.pix_rail and settings.card_gateway and settings.bank_rail:
        return simulators
    addresses = OwnAddresses(settings.data_path / ADDRESSES_FILE, settings.base_url)
    post = OwnPost(gateway, addresses)
    stack.push_async_callback(post.aclose)
    if not settings.pix_rail:
        simulators["pix"] = await _add_pix(runtime, gateway, post, addresses, stack)
    if not settings.card_gateway:
        simulators["card"] = await _add_card(runtime, gateway, post, stack)
    if not settings.bank_rail:
        simulators["bank_transfer"] = await _add_bank(runtime, gateway, post, stack)
    return simulators


async def _add_pix(
    runtime: Runtime, gateway: Gateway, post: OwnPost, addresses: OwnAddresses, stack: AsyncExitStack
) -> PixSimulator:
    settings = runtime.settings
    simulator = PixSimulator(
        await callback_secret("pix", runtime.secrets, runtime.secret_source),
        runtime.clock,
        runtime.random,
        post,
        settings.data_path / JOURNAL_FILE,
        base_url=settings.base_url,
    )
    rail = PixHttpRail(settings.base_url.rstrip("/") + PREFIX, client=_client(gateway, settings.base_url))
    runtime.rails["pix"] = await stack.enter_async_context(rail)
    runtime.payment_rails["pix"] = rail.payments
    if runtime.outgoing is not None:
        runtime.outgoing = OwnPlaces(runtime.outgoing, gateway, addresses)
    stack.push_async_callback(simulator.close)
    return simulator


async def _add_card(runtime: Runtime, gateway: Gateway, post: OwnPost, stack: AsyncExitStack) -> CardSimulator:
    settings = runtime.settings
    simulator = CardSimulator(
        await callback_secret("card", runtime.secrets, runtime.secret_source),
        runtime.clock,
        runtime.random,
        post,
        settings.data_path / CARD_JOURNAL_FILE,
    )
    url = settings.base_url.rstrip("/") + CARD_PREFIX
    card_gateway = CardHttpGateway(url, client=_client(gateway, settings.base_url))
    runtime.card_gateway = await stack.enter_async_context(card_gateway)
    runtime.payment_rails["card"] = card_gateway.captures
    stack.push_async_callback(simulator.close)
    return simulator


async def _add_bank(runtime: Runtime, gateway: Gateway, post: OwnPost, stack: AsyncExitStack) -> BankSimulator:
    settings = runtime.settings
    simulator = BankSimulator(
        await callback_secret("bank_transfer", runtime.secrets, runtime.secret_source),
        runtime.clock,
        runtime.random,
        post,
        settings.data_path / BANK_JOURNAL_FILE,
    )
    url = settings.base_url.rstrip("/") + BANK_PREFIX
    rail = HttpBankTransfers(url, _client(gateway, settings.base_url))
    runtime.payment_rails["bank_transfer"] = await stack.enter_async_context(rail)
    stack.push_async_callback(simulator.close)
    return simulator


def _client(gateway: Gateway, base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=OwnTransport(gateway), base_url=base_url)
