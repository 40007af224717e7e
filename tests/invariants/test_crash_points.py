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
from pathlib import Path
from typing import Any, Final

import pytest

from shared.core.crash_points import NAMES, ON_SERVERS
from tests.invariants.bodies import brl
from tests.invariants.crash_client import Client, Died, Platform, free_port
from tests.invariants.crash_rails import RailsStory, clearing
from tests.invariants.crash_received import ReceivedStory
from tests.invariants.crash_story import Story

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


class Lane:
    """A data directory, its client, and the stories that were begun on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        # The same at each start: the URLs of callbacks that the providers have stay right.
        self.port = free_port()
        self.client: Client
        self.owner = ""
        self.stories: list[Story] = []
        self.visited: list[str] = []

    async def set_up(self) -> None:
        """Start the platform for the first time and create a tenant and a user."""
        platform = await Platform.start(self.data_dir, port=self.port)
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

    async def visit(self, point: str, passes: int, kind: type[Story]) -> None:
        """Start a platform that dies at this point, and run stories, new ones of this kind, until it has died."""
        try:
            platform = await Platform.start(self.data_dir, f"{point}:{passes}", port=self.port)
        except Died:
            self.visited.append(point)
            return
        try:
            await self.client.meet(platform)
            await self._until_it_dies(platform, point, kind)
        except Died:
            assert await platform.ended() == -signal.SIGKILL
        finally:
            await platform.kill()
        self.visited.append(point)

    async def _until_it_dies(self, platform: Platform, point: str, kind: type[Story]) -> None:
        of_writer = point.startswith("writer.")
        for _ in range(3):
            if not self.stories or self.stories[-1].over:
                self.stories.append(kind(self, f"{len(self.stories)}-{point}"))
            await self.stories[-1].send_commands()
            if of_writer and platform.lost_its_writer:
                # The core has continued with a new writer. Now it is killed too, as by a power failure.
                return
        raise AssertionError(f"{point} is not reached")

    async def finish(self) -> None:
        """Start a platform without a crash point, finish every story, and check all results."""
        platform = await Platform.start(self.data_dir, port=self.port)
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
        assert brazil["debits"] == brazil["credits"] == sum(story.turnover for story in self.stories)
        # What a provider has done is in the ledger, and nothing else is.
        balances = {each["account_id"]: each["credits"] - each["debits"] for each in brazil["accounts"]}
        for account, expected in clearing(self.data_dir).items():
            assert balances.get(account, 0) == expected, account
        letters = await self.client.listed("/v1/dead-letters")
        assert Counter(letter["event"]["id"] for letter in letters) == {story.bad_event: 1 for story in self.stories}
        assert {letter["status"] for letter in letters} == {"parked"}
        accounts = await self.client.listed("/v1/accounts")
        assert len(accounts) == 2 * len(self.stories)


class InternalStory(Story):
    """Two accounts, a deposit, payments of every kind between them, and refunds."""

    turnover = 1000 + 300 + 150 + 100 + 50
    payer = payee = ""

    async def commands(self) -> None:
        """See `Story.send_commands`."""
        self.payer, self.payee = await self.open_accounts("payer", "payee")
        await self.fund(self.payer)
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

    def _payment(self, amount: int, **more: Any) -> dict[str, Any]:
        return {
            "amount": brl(amount),
            "method": "internal",
            "payer_account_id": self.payer,
            "payee_account_id": self.payee,
            **more,
        }

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


Visit = tuple[str, int, type[Story]]
"""A point, the pass at which the platform dies, and the kind of the stories that are begun."""
KINDS: Final[tuple[type[Story], ...]] = (InternalStory, RailsStory, ReceivedStory)


async def travel(data_dir: Path, visits: list[Visit]) -> Lane:
    """Visit points one after the other on one data directory, and check the results."""
    lane = Lane(data_dir)
    await lane.set_up()
    try:
        for visit in visits:
            await lane.visit(*visit)
        await lane.finish()
    finally:
        await lane.client.leave()
    return lane


@pytest.mark.timeout(900 * (1 + ROUNDS))
async def test_nothing_is_lost_or_doubled_by_a_kill_at_any_point(tmp_path: Path) -> None:
    """A platform that is killed at each point, also during recovery, loses no answered command and has no effect twice;
    its ledger agrees with what each provider has done."""
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


def round_of(number: int) -> list[Visit]:
    """Return every point with the pass at which the platform dies, early for one half and late for the other, and the
    kind of the stories. Passes and kinds alternate by round, so that three rounds visit each point
    with every kind."""
    return [
        (point, RARE.get(point, PASSES)[(place + number) % 2], KINDS[(place // LANES + number) % 2])
        for place, point in enumerate(POINTS)
    ]
