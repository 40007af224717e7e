"""kill -9 at every commit point of the path: no answered command is lost, and every effect happens exactly once.

Two lanes run concurrently. In each, one platform after another is started on one data directory and dies at the next
point. It is killed while it finishes an earlier story and begins a new one, so that recovery is interrupted, too. At
the end a platform without a crash point finishes everything, and all results are checked.

LASTRO_CRASH_ROUNDS sets how often each point is visited; `pytest -s` shows the number of points and kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from shared.core.crash_points import NAMES, ON_SERVERS
from tests.invariants.crash_client import Client, Died, Platform
from tests.waiting import PATIENCE_SECONDS

ROUNDS: Final = int(os.environ.get("LASTRO_CRASH_ROUNDS", "1"))
LANES: Final = 2
POINTS: Final = tuple(name for name in NAMES if name not in ON_SERVERS)
"""The other points need real servers: tests/faults visits them."""
PASSES: Final = (2, 11)
"""The pass of each point at which the platform dies: an early one, in the earlier story, and a late one, in the new
story."""
RARE: Final = {
    "broker.dead_lettered": (1, 1),
    "request.closed": (1, 3),
    "request.waited": (1, 3),
    "part.decided": (1, 2),
    "part.committed": (1, 2),
    "ledger.recorded": (1, 5),
}
"""Points that one story passes only a few times."""
_PAUSE: Final = 0.02


def brl(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


class Lane:
    """A data directory, its client, and the stories that were begun on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.client: Client
        self.owner = ""
        self.stories: list[Story] = []
        self.visited: list[str] = []

    async def set_up(self) -> None:
        """Start the platform for the first time and create a tenant and a user."""
        platform = await Platform.start(self.data_dir)
        try:
            await self._first_words(platform)
        finally:
            await platform.kill()

    async def _first_words(self, platform: Platform) -> None:
        self.client = Client(json.loads((self.data_dir / "credentials.json").read_text()))
        await self.client.meet(platform)
        document = {"type": "cpf", "number": "529.982.247-25"}
        body = {"kind": "merchant", "name": "Loja", "document": document, "email": "loja@example.com"}
        self.owner = (await self.client.post("owner", "/v1/users", body))["id"]

    async def visit(self, point: str, passes: int) -> None:
        """Start a platform that dies at this point, and run stories until it has died."""
        try:
            platform = await Platform.start(self.data_dir, f"{point}:{passes}")
        except Died:
            self.visited.append(point)
            return
        try:
            await self.client.meet(platform)
            await self._until_it_dies(platform, point)
        except Died:
            assert await platform.ended() == -signal.SIGKILL
        finally:
            await platform.kill()
        self.visited.append(point)

    async def _until_it_dies(self, platform: Platform, point: str) -> None:
        of_writer = point.startswith("writer.")
        for _ in range(3):
            if not self.stories or self.stories[-1].over:
                self.stories.append(Story(self, f"{len(self.stories)}-{point}"))
            await self.stories[-1].send_commands()
            if of_writer and platform.lost_its_writer:
                # The core has continued with a new writer. Now it is killed too, as by a power failure.
                return
        raise AssertionError(f"{point} is not reached")

    async def finish(self) -> None:
        """Start a platform without a crash point, finish every story, and check all results."""
        platform = await Platform.start(self.data_dir)
        try:
            await self._look_at_all(platform)
            await platform.stop()
        finally:
            await platform.kill()

    async def _look_at_all(self, platform: Platform) -> None:
        await self.client.meet(platform)
        for story in self.stories:
            await story.send_commands()
        await self.client.check_first_responses()
        for story in self.stories:
            await story.check()
        await self._check_totals()

    async def _check_totals(self) -> None:
        (brazil,) = (await self.client.get("/v1/ledger/trial-balance"))["data"]
        assert brazil["debits"] == brazil["credits"]
        # Each story has one deposit, two payments and two refunds that were posted.
        assert brazil["debits"] == len(self.stories) * (1000 + 300 + 150 + 100 + 50)
        letters = await self.client.listed("/v1/dead-letters")
        assert Counter(letter["event"]["id"] for letter in letters) == {story.bad_event: 1 for story in self.stories}
        assert {letter["status"] for letter in letters} == {"parked"}
        accounts = await self.client.listed("/v1/accounts")
        assert len(accounts) == 2 * len(self.stories)


class Story:
    """Two accounts, a deposit, payments of every kind, and refunds. It is run again from its beginning after each
    crash."""

    def __init__(self, lane: Lane, name: str) -> None:
        self.lane = lane
        self.name = name
        self.bad_event = f"evt_bad-{name}"
        self.over = False
        self.payer = self.payee = ""
        self.ids: dict[str, str] = {}

    async def send_commands(self) -> None:
        """Send every command again under its key, answered or not, and wait for the final statuses."""
        if self.over:
            return
        account = {"owner_id": self.lane.owner, "currency": "BRL"}
        self.payer, self.payee = await asyncio.gather(
            self._id("payer", "/v1/accounts", account), self._id("payee", "/v1/accounts", account)
        )
        deposit = {"account_id": self.payer, "amount": brl(1000), "method": "pix"}
        await self._id("deposit", "/v1/deposits", deposit, wait=5)
        await self._becomes("/v1/deposits", "deposit", "settled")
        await self._applied()
        await asyncio.gather(
            self._id("automatic", "/v1/payments", self._payment(300), wait=5),
            self._id("partial", "/v1/payments", self._payment(200, capture="manual")),
            self._id("canceled", "/v1/payments", self._payment(100, capture="manual")),
            self._id("declined", "/v1/payments", self._payment(5000), wait=5),
            self._publish_bad_event(),
        )
        await asyncio.gather(
            self._becomes("/v1/payments", "automatic", "settled"),
            self._becomes("/v1/payments", "partial", "authorized", "capturing", "settled"),
            self._becomes("/v1/payments", "canceled", "authorized", "canceled"),
            self._becomes("/v1/payments", "declined", "declined"),
        )
        await asyncio.gather(
            self._send("capture", f"/v1/payments/{self.ids['partial']}/capture", {"amount": brl(150)}, wait=5),
            self._send("cancel", f"/v1/payments/{self.ids['canceled']}/cancel", {}),
        )
        await self._becomes("/v1/payments", "partial", "settled")
        refunds = f"/v1/payments/{self.ids['automatic']}/refunds"
        await asyncio.gather(
            self._id("refund", refunds, {"amount": brl(100)}, wait=5), self._id("rest", refunds, {"amount": brl(50)})
        )
        await self._becomes("/v1/refunds", "refund", "settled")
        await self._becomes("/v1/refunds", "rest", "settled")
        self.over = True

    async def _send(self, what: str, path: str, body: Any, *, wait: int = 0) -> Any:
        return await self.lane.client.post(f"{self.name}/{what}", path, body, wait=wait)

    async def _id(self, what: str, path: str, body: Any, *, wait: int = 0) -> str:
        self.ids[what] = id = str((await self._send(what, path, body, wait=wait))["id"])
        return id

    def _payment(self, amount: int, **more: Any) -> dict[str, Any]:
        return {
            "amount": brl(amount),
            "method": "internal",
            "payer_account_id": self.payer,
            "payee_account_id": self.payee,
            **more,
        }

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

    async def _applied(self) -> None:
        """Return whether the deposit is on the account. In a later run a part of it is already spent."""

        async def books() -> tuple[int, int | None]:
            balance = await self.lane.client.get(f"/v1/accounts/{self.payer}/balance")
            entries = await self.lane.client.listed(f"/v1/ledger/accounts/{self.payer}/entries")
            return balance["posted"], entries[-1]["balance_after"]["value"] if entries else None

        await eventually(books, lambda found: found[0] == found[1])

    async def check(self) -> None:
        """Check both accounts by balance, statement and ledger, and that nothing exists twice."""
        client = self.lane.client
        await self._check_account(self.payer, 700, [1000, 300, 150, 100, 50])
        await self._check_account(self.payee, 300, [300, 150, 100, 50])
        payments = (await client.get(f"/v1/payments?account={self.payer}&limit=100"))["data"]
        assert {payment["id"]: payment["status"] for payment in payments} == {
            self.ids["automatic"]: "settled",
            self.ids["partial"]: "settled",
            self.ids["canceled"]: "canceled",
            self.ids["declined"]: "declined",
        }
        assert (await client.get(f"/v1/payments/{self.ids['automatic']}"))["amount_refunded"] == brl(150)
        events = await client.listed(f"/v1/payments/{self.ids['automatic']}/events")
        published = Counter((event["type"], event["data"].get("refund_id")) for event in events)
        assert set(published.values()) == {1}

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


async def travel(data_dir: Path, visits: list[tuple[str, int]]) -> Lane:
    """Visit points one after the other on one data directory, and check the results."""
    lane = Lane(data_dir)
    await lane.set_up()
    try:
        for point, passes in visits:
            await lane.visit(point, passes)
        await lane.finish()
    finally:
        await lane.client.leave()
    return lane


@pytest.mark.timeout(900 * (1 + ROUNDS))
async def test_nothing_is_lost_or_doubled_by_a_kill_at_any_point(tmp_path: Path) -> None:
    """A platform that is killed at each point, also during recovery, loses no answered command and has no effect
    twice."""
    visits = [visit for number in range(ROUNDS) for visit in round_of(number)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(travel(tmp_path / f"lane-{number}", visits[number::LANES])) for number in range(LANES)
        ]
    lanes = [task.result() for task in tasks]
    visited = Counter(point for lane in lanes for point in lane.visited)
    stories = sum(len(lane.stories) for lane in lanes)
    print(f"{len(visited)} crash points visited, {sum(visited.values())} kills, {stories} stories")
    assert set(visited) == set(POINTS)


def round_of(number: int) -> list[tuple[str, int]]:
    """Return every point with the pass at which the platform dies: early for one half and late for the other,
    alternating by round."""
    return [(point, RARE.get(point, PASSES)[(place + number) % 2]) for place, point in enumerate(POINTS)]
