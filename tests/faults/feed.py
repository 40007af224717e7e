"""What a platform gets besides payments: deposits that a provider reports, and events that no consumer accepts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from tests.contract.calling import brl, user_body
from tests.faults.client import LIMIT_SECONDS, Client
from tests.faults.stage import Stage

_PAUSE: Final = 1.0
"""The seconds between two deposits."""
_SETTLED: Final = frozenset({"settled"})


class Feed:
    """Deposits and unacceptable events of the tenant of a case."""

    def __init__(self, client: Client, operator: Client) -> None:
        self.deposits: list[str] = []
        self.refused: list[str] = []
        """The ids of events whose data no consumer accepts."""
        self.ends = False
        """Set to end `go_on` after what it is sending."""
        self._client = client
        self._operator = operator

    async def go_on(self) -> None:
        """Send a deposit and such an event each second until `ends`."""
        owner = (await self._client.command("feed-owner", "/v1/users", user_body()))["id"]
        account = {"owner_id": owner, "currency": "BRL"}
        account_id = (await self._client.command("feed-account", "/v1/accounts", account))["id"]
        body = {"account_id": account_id, "amount": brl(100), "method": "pix"}
        while not self.ends:
            number = len(self.deposits)
            made = await self._client.command(f"deposit-{number}", "/v1/deposits", body, first=number)
            self.deposits.append(made["id"])
            event = self._unacceptable(number)
            await self._operator.publish(event, first=number)
            self.refused.append(event["id"])
            await asyncio.sleep(_PAUSE)

    def _unacceptable(self, number: int) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"evt_refused-{number}",
            "source": "/elsewhere/payments/create",
            "type": "lastro.payment.created.v1",
            "time": "2026-01-01T00:00:00Z",
            "tenantid": self._client.id,
            "partitionkey": f"{self._client.id}/refused-{number}",
            "data": {"payment_id": 1},
        }

    async def check(self) -> None:
        """Check that each deposit settles, and that each such event is parked once. A replay does not cure them, so
        they are discarded."""
        for deposit in self.deposits:
            await self._client.reaches(f"/v1/deposits/{deposit}", _SETTLED)
        letters: list[Any] = []
        async with asyncio.timeout(LIMIT_SECONDS):
            while not {*self.refused} <= {letter["event"]["id"] for letter in letters}:
                await asyncio.sleep(_PAUSE)
                letters = await self._client.listed("/v1/dead-letters?status=parked")
        ours = [letter for letter in letters if letter["event"]["id"] in self.refused]
        assert Counter(letter["event"]["id"] for letter in ours) == Counter(self.refused)
        for letter in ours:
            path = f"/v1/dead-letters/{letter['id']}/discard"
            await self._client.command(f"discard-{letter['id']}", path, {"reason": "no consumer accepts it"})


@asynccontextmanager
async def fed(stage: Stage) -> AsyncIterator[Feed]:
    """Feed the platforms until the end of the context. The last deposit and event are sent to their end."""
    assert stage.client is not None
    async with aclosing(Client(stage.addresses, stage.operator(), stage.token_url)) as operator:
        feed = Feed(stage.client, operator)
        feeding = asyncio.create_task(feed.go_on())
        yield feed
        feed.ends = True
        await feeding
