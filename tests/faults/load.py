"""A steady load of payments: most are captured at once, some later and in part, some are refunded, some declined."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from shared.ports.documents import Unavailable
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS
from tests.contract.calling import brl, user_body
from tests.faults.client import Client
from tests.invariants.books import Platform, everything

WORKERS: Final = 8
BEFORE: Final = 12
"""The number of accepted payments before the fault."""
AT_LEAST: Final = 50
AFTER: Final = 12
"""The number of payments that are sent after the end of the fault."""
AT_MOST: Final = 2000
A_SECOND: Final = 12
"""The number of payments sent in a second at most."""
OVERDRAFTS: Final = (1_000_000, 1_000_000, 100)
"""The overdraft limit of each payer, in centavos. The last one cannot pay for all its payments."""
PAYEES: Final = 2
ENDED: Final = frozenset({"settled", "declined", "failed", "canceled", "expired"})
REFUND_ENDED: Final = frozenset({"settled", "failed"})
WAIT_SECONDS: Final = 2
"""How long some requests wait for the final status of their payment (`Prefer: wait`)."""
_CAPTURED: Final = 5
_REFUNDED: Final = 3
_LOOK_SECONDS: Final = 0.2


@dataclass
class Load:
    """The load of one case, by one tenant. `made` has the answer to each payment, by its number."""

    client: Client
    payers: list[str] = field(default_factory=list)
    payees: list[str] = field(default_factory=list)
    made: dict[int, Any] = field(default_factory=dict)
    sent_at: dict[int, float] = field(default_factory=dict)
    refunds: dict[int, Any] = field(default_factory=dict)
    fault_ended: float = 0.0

    async def open_accounts(self) -> None:
        """Create the accounts."""
        owner = (await self.client.command("owner", "/v1/users", user_body(kind="merchant")))["id"]
        for number, limit in enumerate((*OVERDRAFTS, *[0] * PAYEES)):
            body = {"owner_id": owner, "currency": "BRL", "overdraft_limit": limit}
            made = await self.client.command(f"account-{number}", "/v1/accounts", body)
            (self.payers if number < len(OVERDRAFTS) else self.payees).append(made["id"])

    async def run(self, strike: Callable[[], Awaitable[None]]) -> None:
        """Send payments before, during and after a fault, until all are accepted."""
        numbers, began, last = count(), time.monotonic(), AT_MOST

        async def work() -> None:
            for number in numbers:
                if number >= last:
                    return
                await asyncio.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
                await self._pay(number)

        async def fault() -> None:
            nonlocal last
            while len(self.made) < BEFORE:  # noqa: ASYNC110 - no event is set when a payment is made
                await asyncio.sleep(0.02)
            await strike()
            self.fault_ended = time.monotonic()
            last = max(AT_LEAST, max(self.sent_at) + 1 + AFTER)

        async with asyncio.TaskGroup() as group:
            group.create_task(fault())
            for _ in range(WORKERS):
                group.create_task(work())

    async def _pay(self, number: int) -> None:
        kind = number % 6
        body = {
            "amount": brl(10 + number % 7),
            "method": "internal",
            "payer_account_id": self.payers[number % len(self.payers)],
            "payee_account_id": self.payees[number % len(self.payees)],
            **({"capture": "manual"} if kind == 3 else {}),
        }
        self.sent_at[number] = time.monotonic()
        made = self.made[number] = await self.client.command(
            f"payment-{number}", "/v1/payments", body, first=number, wait=WAIT_SECONDS if kind == 5 else 0
        )
        path = f"/v1/payments/{made['id']}"
        if kind == 3:
            found = await self.client.reaches(path, ENDED | {"authorized"})
            if found["status"] == "authorized":
                amount = {"amount": brl(_CAPTURED)}
                await self.client.command(f"capture-{number}", f"{path}/capture", amount, first=number)
        elif kind == 4:
            found = await self.client.reaches(path, ENDED)
            if found["status"] == "settled":
                amount = {"amount": brl(_REFUNDED)}
                self.refunds[number] = await self.client.command(
                    f"refund-{number}", f"{path}/refunds", amount, first=number
                )


@dataclass
class Watch:
    """Reads the documents of a tenant during the load, directly and not through a platform."""

    world: Platform
    tenant_id: str
    looks: int = 0
    """How often all accounts were read."""
    ended_at: dict[str, float] = field(default_factory=dict)
    """When a payment was first seen in a final status."""

    async def go_on(self) -> None:
        """Read until cancelled. Fails when an account has less than nothing available."""
        while True:
            with contextlib.suppress(Unavailable):
                await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Read once. Raises Unavailable."""
        for account in await everything(self.world, self.tenant_id, ACCOUNTS):
            assert account["posted"] - account["held"] + account["overdraft_limit"] >= 0, account
        for payment in await everything(self.world, self.tenant_id, PAYMENTS):
            if payment["status"] in ENDED:
                self.ended_at.setdefault(payment["id"], time.monotonic())
        self.looks += 1
