"""The simulated providers of the three rails beside a world, in one process with it and without sockets.

The adapters and the simulators are the platform's own. A callback is not delivered by itself: it waits in a pool until
the test delivers it, in any order, several times, or never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import orjson

from embedded.simulators import bank, card, pix
from embedded.simulators.pix_model import path_of
from embedded.simulators.program import ConnectionCut
from shared.adapters.bank_transfer.rail import HttpBankTransfers
from shared.adapters.card.gateway import CardHttpGateway
from shared.adapters.pix.br_code import parse_br_code
from shared.adapters.pix.formats import parse_amount
from shared.adapters.pix.rail import PixHttpRail
from shared.adapters.providers.client import ProviderClient
from shared.adapters.providers.credentials import Credentials
from shared.context.runtime import Runtime
from shared.core.clock import Clock, parse_time
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.documents import Unavailable
from shared.ports.rail import OutcomeUnknown, callback_secret_name
from tests.hostile import Servers
from tests.invariants.pix_provider import CALLBACK_SECRET
from tests.invariants.rails_reference import AtProvider
from tests.invariants.received_reference import Paid, Returned
from tests.invariants.runtimes import AT_ONCE

if TYPE_CHECKING:
    from shared.ports.secrets import Secrets

RAILS: Final = ("pix", "bank_transfer", "card")
_Simulator = Callable[[HttpRequest], Awaitable[HttpResponse]]


@dataclass(slots=True, eq=False)
class Callback:
    """A callback that a provider has sent. It is signed anew at each delivery, as the provider does."""

    provider: str
    path: str
    body: bytes


class Moved(NamedTuple):
    """What a provider has moved, in centavos, as its own books show it."""

    received: int
    """What was received for the tenant's accounts."""
    sent: int
    """What was sent from the tenant's accounts."""


class Providers:
    """The three simulators, and the callbacks that wait for their delivery."""

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self.callbacks: list[Callback] = []
        self.is_down = False
        """Whether no provider can be reached."""
        shared = (CALLBACK_SECRET, clock, Random(seed))
        self.pix = pix.PixSimulator(*shared, self._post("pix"), None, _no_pause, base_url=AT_ONCE.base_url)
        self.bank = bank.BankSimulator(*shared, self._post("bank_transfer"), None, _no_pause)
        self.card = card.CardSimulator(*shared, self._post("card"), None, _no_pause)

    def _post(self, provider: str) -> Callable[[str, Mapping[str, str], bytes], Awaitable[int]]:
        async def post(url: str, _headers: Mapping[str, str], body: bytes) -> int:
            self.callbacks.append(Callback(provider, url.removeprefix(AT_ONCE.base_url), body))
            return 200

        return post

    async def connect(self, runtime: Runtime, servers: Servers | None = None) -> None:
        """Give a process its rails. With hostile servers, its requests to the providers fail as their die says."""
        pix_rail = PixHttpRail(AT_ONCE.base_url + pix.PREFIX)
        bank_rail = HttpBankTransfers(AT_ONCE.base_url + bank.PREFIX)
        gateway = CardHttpGateway(AT_ONCE.base_url + card.PREFIX)
        simulators: tuple[tuple[Any, str, _Simulator], ...] = (
            (pix_rail, pix.PREFIX, self.pix),
            (bank_rail, bank.PREFIX, self.bank),
            (gateway, card.PREFIX, self.card),
        )
        for adapter, prefix, simulator in simulators:
            client = httpx.AsyncClient(transport=_Network(self, simulator, servers))
            # A clock of which each reading is an hour later: the circuit is always closed again.
            hours: Iterator[float] = count(0.0, 3600.0)
            adapter._api = ProviderClient(
                "provider", AT_ONCE.base_url + prefix, Credentials(), client, partial(next, hours)
            )
        runtime.rails["pix"] = pix_rail
        runtime.payment_rails |= {"pix": pix_rail.payments, "bank_transfer": bank_rail, "card": gateway.captures}
        runtime.card_gateway = gateway

    async def store_secrets(self, secrets: Secrets) -> None:
        """Store the secret with which the callbacks are signed."""
        for rail in RAILS:
            await secrets.put(callback_secret_name(rail), CALLBACK_SECRET)

    async def order(self, provider: str, path: str, body: Any) -> tuple[int, Any]:
        """Send a command to a simulator as whoever controls the simulation; return the status and body of the answer.

        Its callbacks are in the pool afterwards.
        """
        simulators: dict[str, tuple[_Simulator, str]] = {
            "pix": (self.pix, pix.PREFIX),
            "bank_transfer": (self.bank, bank.PREFIX),
            "card": (self.card, card.PREFIX),
        }
        simulator, prefix = simulators[provider]
        answer = await simulator(HttpRequest("POST", prefix + path, "", {}, orjson.dumps(body)))
        await self.quiet()
        return answer.status, orjson.loads(answer.body)

    async def quiet(self) -> None:
        """Wait until every callback that was begun is in the pool."""
        reporters = (
            self.pix.reporter,
            self.pix.sent_reporter,
            self.pix.returns_reporter,
            self.pix.frauds_reporter,
            self.bank.reporter,
            self.card.reporter,
        )
        while any(reporter.tasks for reporter in reporters):  # noqa: ASYNC110 - the tasks are the simulators' own
            await asyncio.sleep(0)

    def payment(self, rail: str, reference: str) -> AtProvider:
        """Return a payment as its provider's books show it. `reference` is ours at the provider."""
        if rail == "pix":
            sent = self.pix._state.sent.get(reference)
            return AtProvider(parse_amount(sent.moved) if sent is not None and sent.status == "REALIZADO" else 0)
        if rail == "bank_transfer":
            transfer = self.bank._state.transfers.get(reference)
            if transfer is None or transfer.status in ("ACCEPTED", "REJECTED"):
                return AtProvider()
            return AtProvider(transfer.amount, came_back=transfer.status == "RETURNED")
        payment = self.card._state.payments.get(self.card._state.references.get(reference, ""))
        if payment is None:
            return AtProvider()
        refunds = tuple(int(one["amount"]) for one in payment.refunds if one["status"] == "succeeded")
        is_held = payment.status == "authorized" and payment.capture is None
        return AtProvider(payment.captured, refunds=refunds, is_held=is_held)

    def code_of(self, br_code: str) -> str:
        """Return the PIX provider's id of a code: its txid there."""
        code = parse_br_code(br_code)
        id = code.txid if code.location is None else self.pix._state.locations[path_of(code.location)]
        assert id is not None, "the platform's static codes have a txid"
        return id

    def received(self) -> dict[str, Paid]:
        """Return the payments that the PIX provider has received, by their end-to-end ids."""
        return {
            id: Paid(id, one.txid or "", parse_amount(one.original), parse_time(one.paid_at))
            for id, one in self.pix._state.payments.items()
        }

    def returned(self) -> dict[tuple[str, str], Returned]:
        """Return the returns that the PIX provider has, by the payment and our reference."""
        return {
            (one.end_to_end_id, one.key.partition("/")[2]): Returned(
                parse_amount(one.original), one.outcome == "DEVOLVIDO"
            )
            for one in self.pix._returns.all.values()
        }

    def moved(self, rail: str) -> Moved:
        """Return what a provider has moved, by its own books."""
        if rail == "pix":
            state, returns = self.pix._state, self.pix._returns.all.values()
            received = sum(parse_amount(payment.original) for payment in state.payments.values())
            made = sum(parse_amount(sent.moved) for sent in state.sent.values() if sent.status == "REALIZADO")
            returned = sum(parse_amount(one.original) for one in returns if one.outcome == "DEVOLVIDO")
            return Moved(received, made + returned)
        if rail == "bank_transfer":
            transfers = self.bank._state.transfers.values()
            return Moved(0, sum(transfer.amount for transfer in transfers if transfer.status == "SETTLED"))
        payments = self.card._state.payments.values()
        refunded = sum(
            int(refund["amount"])
            for payment in payments
            for refund in payment.refunds
            if refund["status"] == "succeeded"
        )
        return Moved(sum(payment.captured for payment in payments), refunded)


class _Network(httpx.AsyncBaseTransport):
    """The network between one process and one provider."""

    def __init__(self, providers: Providers, simulator: _Simulator, servers: Servers | None) -> None:
        self._providers = providers
        self._simulator = simulator
        self._servers = servers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        sent = HttpRequest(request.method, path, query, dict(request.headers), await request.aread())
        if self._providers.is_down:
            raise httpx.ConnectError("refused")
        try:
            answer = await self._answer(sent)
        except ConnectionCut as cut:
            raise httpx.RemoteProtocolError(str(cut)) from None
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if self._servers is None:
            return await self._simulator(request)
        answers: list[HttpResponse] = []

        async def write() -> None:
            answers.append(await self._simulator(request))

        try:
            await self._servers.write(object(), write, lambda: Unavailable(""), lambda: OutcomeUnknown(""))
        except OutcomeUnknown:
            raise httpx.ReadTimeout("no answer in time") from None
        except Unavailable:
            raise httpx.ConnectError("refused") from None
        return answers[-1]


async def _no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)
