"""The simulated card gateway beside a harness, with which tests of card payments work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import orjson

from embedded.simulators.card import PREFIX, CardSimulator
from embedded.simulators.program import ConnectionCut
from events.sweeps import Tick
from shared.adapters.card.gateway import CardHttpGateway
from shared.http.messages import HttpRequest
from shared.ports.documents import PLATFORM, Documents
from shared.ports.rail import callback_secret_name
from shared.records.system_accounts import clearing_account, system_account
from tests.harness import Answer, Harness
from tests.waiting import PATIENCE_SECONDS

SECRET = b"shared with the gateway"
PATH = "/v1/providers/card/callbacks"
CLEARING = clearing_account("card", "BRL")
SUSPENSE = system_account("suspense", "BRL")


class Gateway:
    """The gateway of a harness. `is_down` is whether it can be reached; `requests` are those that have arrived."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.is_down = False
        self.requests: list[str] = []
        self.callbacks: list[bytes] = []
        self.interrupted: Documents | None = None
        """The store of a test that interrupts commits."""
        self.simulator = CardSimulator(SECRET, harness.clock, Random(7), self._post, None, self._sleep)
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.adapter = CardHttpGateway(f"http://gateway.test{PREFIX}", client)
        harness.runtime.card_gateway = self.adapter
        harness.runtime.payment_rails["card"] = self.adapter.captures

    @staticmethod
    async def _sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def _post(self, _url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.callbacks.append(body)
        answer = await self.harness.call("POST", PATH, body, headers=dict(headers))
        return answer.status

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("refused")
        self.requests.append(f"{request.method} {request.url.path.removeprefix(PREFIX)}")
        sent = HttpRequest(
            request.method, request.url.path, request.url.query.decode(), dict(request.headers), request.content
        )
        try:
            answer = await self.simulator(sent)
        except ConnectionCut as cut:
            raise httpx.RemoteProtocolError(str(cut)) from None
        return httpx.Response(answer.status, headers=answer.headers, content=answer.body)

    def commands(self, end: str) -> int:
        """Return how many commands to a path with this end have arrived."""
        return sum(one.startswith("POST") and one.endswith(end) for one in self.requests)

    async def fault(self, fault: str, **more: Any) -> None:
        """Order a fault."""
        body = orjson.dumps({"fault": fault, **more})
        answer = await self.simulator(HttpRequest("POST", f"{PREFIX}/faults", "", {}, body))
        assert answer.status == 202, answer.body

    async def run(self, **how: Any) -> None:
        """Deliver events and callbacks until none is left; `how` as in Harness.run_events."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.harness.run_events(**how) or self.simulator.reporter.tasks:  # noqa: ASYNC110 - of tasks
                await asyncio.sleep(0)


async def with_gateway(harness: Harness) -> Gateway:
    """Give the harness a card gateway, and the secret that it signs with."""
    await harness.runtime.secrets.put(callback_secret_name("card"), SECRET)
    return Gateway(harness)


def order(payee: str, value: int = 1050, token: str = "tok_approve", **fields: Any) -> dict[str, Any]:
    """Return the body of a card payment."""
    amount = {"value": value, "currency": "BRL"}
    return {"amount": amount, "method": "card", "card": {"token": token}, "payee_account_id": payee, **fields}


async def charge(harness: Harness, payee: str, value: int = 1050, token: str = "tok_approve", **fields: Any) -> Any:
    """Create a card payment; the published events are not delivered."""
    answer: Answer = await harness.call("POST", "/v1/payments", order(payee, value, token, **fields))
    assert answer.status == 201, answer.body
    return answer.json


async def overdue(gateway: Gateway) -> None:
    """Move the clock by an hour, and deliver the sweep's tick and all that follows."""
    harness = gateway.harness
    harness.clock.advance(timedelta(hours=1))
    for sweep in ("sweep_sagas", "expire_holds"):
        tick = harness.envelope(Tick(schedule=sweep), tenant=PLATFORM)
        while (await harness.deliver(f"operations/{sweep}", tick)).status != 204:
            assert gateway.interrupted is not None, "a sweep is repeated after an interruption only"
    await gateway.run()
