"""What a story of the crash points is: commands that are sent again after each crash, until all of them have ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

from tests.invariants.bodies import brl
from tests.invariants.crash_client import Client
from tests.waiting import PATIENCE_SECONDS

_PAUSE: Final = 0.02


class Lane(Protocol):
    """The data directory on which a story runs, its client, and its user."""

    data_dir: Path
    client: Client
    owner: str


class Story:
    """Commands on accounts of its own. It is run again from its beginning after each crash."""

    turnover = 0
    """The sum of what a story that is over has moved, in centavos."""

    def __init__(self, lane: Lane, name: str) -> None:
        self.lane = lane
        self.name = name
        self.bad_event = f"evt_bad-{name}"
        self.over = False
        self.ids: dict[str, str] = {}

    async def send_commands(self) -> None:
        """Send every command again under its key, answered or not, and wait for the final statuses."""
        if not self.over:
            await self.commands()
            self.over = True

    async def commands(self) -> None:
        """See `send_commands`."""
        raise NotImplementedError

    async def check(self) -> None:
        """Check the accounts of a story that is over."""
        raise NotImplementedError

    async def open_accounts(self, *names: str) -> list[str]:
        """Open an account of the lane's user for each name, and return their ids."""
        body = {"owner_id": self.lane.owner, "currency": "BRL"}
        return list(await asyncio.gather(*(self._id(name, "/v1/accounts", body) for name in names)))

    async def fund(self, account: str) -> None:
        """Deposit 10.00 by PIX on the account, and wait until it is there."""
        await self._id("deposit", "/v1/deposits", {"account_id": account, "amount": brl(1000), "method": "pix"}, wait=5)
        await self._becomes("/v1/deposits", "deposit", "settled")
        await self._applied(account)

    async def _send(self, what: str, path: str, body: Any, *, wait: int = 0) -> Any:
        return await self.lane.client.post(f"{self.name}/{what}", path, body, wait=wait)

    async def _id(self, what: str, path: str, body: Any, *, wait: int = 0) -> str:
        self.ids[what] = id = str((await self._send(what, path, body, wait=wait))["id"])
        return id

    async def _publish_bad_event(self) -> None:
        event = {
            "specversion": "1.0",
            "id": self.bad_event,
            "source": "/elsewhere/payments/create",
            "type": "lastro.payment.created.v1",
            "time": "2026-01-01T00:00:00Z",
            "tenantid": "demo",
            "partitionkey": f"demo/{self.name}",
            "data": {"payment_id": 1},
        }
        await self.lane.client.publish(event)

    async def _becomes(self, path: str, what: str, *statuses: str) -> None:
        url = f"{path}/{self.ids[what]}"
        await eventually(lambda: self.lane.client.get(url), lambda found: found["status"] in statuses)

    async def _applied(self, account: str) -> None:
        """Return whether the deposit is on the account. In a later run a part of it is already spent."""

        async def books() -> tuple[int, int | None]:
            balance = await self.lane.client.get(f"/v1/accounts/{account}/balance")
            entries = await self.lane.client.listed(f"/v1/ledger/accounts/{account}/entries")
            return balance["posted"], entries[-1]["balance_after"]["value"] if entries else None

        await eventually(books, lambda found: found[0] == found[1])

    async def _check_account(self, account: str, posted: int, amounts: list[int]) -> None:
        client = self.lane.client
        balance = await eventually(
            lambda: client.get(f"/v1/accounts/{account}/balance"),
            lambda found: (found["posted"], found["held"]) == (posted, 0),
        )
        assert balance["available"] == posted
        entries = await client.listed(f"/v1/ledger/accounts/{account}/entries")
        assert Counter(entry["amount"]["value"] for entry in entries) == Counter(amounts)
        assert entries[-1]["balance_after"] == brl(posted)
        lines = await eventually(
            lambda: client.listed(f"/v1/accounts/{account}/statement"), lambda found: len(found) >= len(entries)
        )
        assert [(line["transfer_id"], line["amount"], line["balance_after"]) for line in lines] == [
            (entry["transfer_id"], entry["amount"], entry["balance_after"]) for entry in entries
        ]


async def eventually(ask: Callable[[], Awaitable[Any]], enough: Callable[[Any], bool]) -> Any:
    """Read until the result is as expected, and return it. Raises AssertionError with the last result after the time
    limit."""
    found: Any = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await ask()
                if enough(found):
                    return found
                await asyncio.sleep(_PAUSE)
    except TimeoutError:
        raise AssertionError(f"still not as it should be: {found}") from None
