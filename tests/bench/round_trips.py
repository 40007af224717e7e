"""`task count:servers`: the calls of each function of the payment path to each server, counted on the real servers.

Every call is held back until nothing else in the process can go on. Then all calls that wait are let go together: they
are one round trip. The counts therefore do not depend on the speed of the machine. The first payment between two
accounts is not counted, so that what a running process keeps in memory is there (keys, prepared statements).
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

from shared.adapters.mongodb.statements import Replace, Statement
from shared.bootstrap.process import Process
from shared.core.clock import ManualClock
from shared.core.settings import Settings
from tests.bench.real_servers import ROOT, SECRETS, STORES, servers, settings_on
from tests.invariants.bodies import payment
from tests.invariants.tenant import Tenant
from tests.invariants.world import World
from tests.waiting import rest

T = TypeVar("T")
PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- `task count:servers -- --write` writes this table, and a test compares it with the servers. -->"
END: Final = "<!-- end of the table -->"
REQUEST: Final = "payments/create_payment"
PATH: Final = (
    REQUEST,
    "accounts/hold_funds",
    "payments/authorize",
    "ledger/post_transfer",
    "accounts/apply_transfer",
    "payments/settle",
    "statements/project_transfer",
)
"""The functions of a payment, in their order; the last three receive one event. Others may receive its events too."""
STEPS: Final = PATH[:4]
"""The functions of which each begins when the one before has published its event."""
SETTLING: Final = "payments/settle"
READ, COMMIT, MARK, LEDGER, CACHE, BUS, VAULT = "read", "commit", "mark", "ledger", "cache", "bus", "secrets"
PURPOSES: Final = {
    READ: "MongoDB: reads",
    COMMIT: "transaction",
    MARK: "sent marks",
    LEDGER: "Cassandra",
    CACHE: "Redis",
    BUS: "Kafka",
    VAULT: "Vault",
}
"""The columns of the table, by the purpose of a call."""


class Trips(NamedTuple):
    """The calls of one run of a function, by their purpose, and for each round trip the calls that it has.

    `after` are the round trips that the sender of the request or event does not wait for.
    """

    rounds: tuple[Counter[str], ...]
    after: tuple[Counter[str], ...] = ()

    def and_then(self, other: Trips) -> Trips:
        """Return the trips of both, one after the other."""
        return Trips(self.rounds + other.rounds, self.after + other.after)

    def until(self, purpose: str) -> int:
        """Return the number of round trips up to the last one for this purpose."""
        return max(number for number, calls in enumerate(self.rounds, 1) if purpose in calls)

    @property
    def calls(self) -> Counter[str]:
        """The number of calls, by their purpose."""
        return sum((*self.rounds, *self.after), Counter[str]())


class Gate:
    """Holds calls to servers back, and lets those that wait at the same time go together."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._in_flight = 0
        self._answered = asyncio.Event()
        self._counts = False

    def hold(self, target: Any, purpose: str, *methods: str, commands: Callable[..., int] | None = None) -> None:
        """Hold back the calls of these methods of an object.

        `commands` is called with the arguments and returns how many commands the driver makes of a call, one after
        the other; None means one.
        """
        for name in methods:
            setattr(target, name, self._held(getattr(target, name), purpose, commands))

    def _held(
        self, method: Callable[..., Awaitable[T]], purpose: str, commands: Callable[..., int] | None
    ) -> Callable[..., Awaitable[T]]:
        async def call(*arguments: Any, **named: Any) -> T:
            if not self._counts:
                return await method(*arguments, **named)
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((purpose, 1 if commands is None else commands(*arguments, **named), turn))
            await turn
            try:
                return await method(*arguments, **named)
            finally:
                self._in_flight -= 1
                if not self._in_flight:
                    self._answered.set()

        return call

    async def count(self, work: Coroutine[Any, Any, T]) -> tuple[T, Trips]:
        """Run the work and return its result and its trips, those of tasks that it leaves behind included."""
        self._counts = True
        task = asyncio.create_task(work)
        rounds: list[Counter[str]] = []
        after: list[Counter[str]] = []
        while True:
            await rest()
            if self._in_flight:
                await self._answered.wait()
            elif self._waiting:
                self._let_go(after if task.done() else rounds)
            elif task.done():
                self._counts = False
                return task.result(), Trips(tuple(rounds), tuple(after))

    def _let_go(self, rounds: list[Counter[str]]) -> None:
        waiting, self._waiting = self._waiting, []
        rounds += [
            Counter(purpose for purpose, commands, _ in waiting if commands > place)
            for place in range(max(commands for _, commands, _ in waiting))
        ]
        self._in_flight = len(waiting)
        self._answered.clear()
        for _, _, turn in waiting:
            turn.set_result(None)


@dataclass(slots=True)
class Counted:
    """A platform on the real servers whose calls are counted, and a tenant with two accounts."""

    world: World
    tenant: Tenant
    gate: Gate
    payer: str
    payee: str

    async def trips_of_a_payment(self) -> dict[str, Trips]:
        """Make a payment, and return the trips of each function that it calls, also several times; those of its path
        first."""
        world, found = self.world, {}
        body = payment(self.payer, self.payee, 100)
        answer, found[REQUEST] = await self.gate.count(self.tenant.call("POST", "/v1/payments", body))
        assert answer.status == 201, answer.body
        while world.pool.pending:
            pending = world.pool.pending.pop(0)
            _, trips = await self.gate.count(world.deliver(pending))
            name = pending.consumer.id
            found[name] = found[name].and_then(trips) if name in found else trips
        assert await self.tenant.status(answer.body["id"]) == "settled"
        return {name: found.pop(name) for name in PATH} | found


@asynccontextmanager
async def counted(settings: Mapping[str, str]) -> AsyncIterator[Counted]:
    """Open the adapters of these settings in this process, and make the first payment."""
    clock, gate = ManualClock(), Gate()
    async with Process(Settings.from_environment(settings), clock) as process:
        ports = await process.open_ports("thread")
        hold_servers(gate, ports)
        world = await World.on_ports(ports, clock)
        tenant = await world.tenant()
        payer, payee = await tenant.account(1_000_000), await tenant.account()
        await tenant.pay(payer, payee, 100)
        await world.settle()
        yield Counted(world, tenant, gate, payer, payee)


def hold_servers(gate: Gate, ports: Any) -> None:
    """Hold back every call of these adapters to their servers, at the place where each has its driver."""
    server = ports.documents._server
    gate.hold(server, READ, "find", "find_one")
    gate.hold(server, MARK, "write", commands=kinds_in_turn)
    begin = server.transaction

    async def transaction() -> Any:
        begun = await begin()
        gate.hold(begun, COMMIT, "write", commands=kinds_in_turn)
        gate.hold(begun, COMMIT, "commit", "abort")
        return begun

    server.transaction = transaction
    gate.hold(ports.ledger._connection, LEDGER, "_run")
    gate.hold(ports.cache._server, CACHE, "result")
    gate.hold(ports.bus, BUS, "_sent")
    gate.hold(ports.secrets._session, VAULT, "call")


def kinds_in_turn(_collection: str, statements: Sequence[Statement], **_: Any) -> int:
    """Return the number of commands of a batch: the driver sends neighbouring statements of one kind together."""

    def kind(statement: Statement) -> str:
        return "Update" if isinstance(statement, Replace) else type(statement).__name__

    return len(list(groupby(statements, kind)))


def table(found: Mapping[str, Trips]) -> str:
    """Return the table of the page."""
    rows = [("function", *PURPOSES.values(), "calls in all", "round trips")]
    for name, trips in found.items():
        late = sum(trips.after, Counter[str]()).total()
        depth = f"{len(trips.rounds)}" + (f", {len(trips.after)} later" if late else "")
        rows.append((name, *(_number(trips.calls[each]) for each in PURPOSES), str(trips.calls.total()), depth))
    calls = sum((trips.calls for trips in found.values()), Counter[str]())
    rows.append(("a payment", *(_number(calls[each]) for each in PURPOSES), str(calls.total()), ""))
    waits = _waits_until_settled(found)
    rows.append(("waits until settled", *(_number(waits[each]) for each in PURPOSES), "", str(waits.total())))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|---|{'---:|' * (len(rows[0]) - 1)}")
    return "\n".join(lines)


def _waits_until_settled(found: Mapping[str, Trips]) -> Counter[str]:
    """Return the round trips one after the other until a payment is settled. One for several purposes counts for the
    first column."""
    rounds = [each for name in STEPS for each in found[name].rounds[: found[name].until(BUS)]]
    rounds += found[SETTLING].rounds[: found[SETTLING].until(COMMIT)]
    return Counter(next(purpose for purpose in PURPOSES if purpose in calls) for calls in rounds)


def _number(count: int) -> str:
    return str(count) if count else ""


def written() -> str:
    """Return the table that the page has."""
    return PAGE.read_text(encoding="utf-8").partition(f"{BEGIN}\n\n")[2].partition(f"\n\n{END}")[0]


def write(text: str) -> None:
    """Replace the table of the page."""
    before, begin, rest_of_page = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, behind = rest_of_page.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} has no place for the table: {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}", encoding="utf-8")


async def count(settings: Mapping[str, str]) -> dict[str, Trips]:
    """Return the trips of each function of a payment, on the servers of these settings."""
    async with counted(settings) as platform:
        return await platform.trips_of_a_payment()


def main() -> None:
    """Start the servers, count, print the table, and stop the servers."""
    parser = argparse.ArgumentParser(prog="task count:servers --", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    with servers((*STORES, SECRETS)) as urls:
        settings = settings_on(urls, f"trips_{uuid4().hex[:12]}")
        os.environ.update({name: value for name, value in settings.items() if not name.startswith("LASTRO_")})
        text = table(asyncio.run(count(settings)))
    print(text)
    if arguments.write:
        write(text)


if __name__ == "__main__":
    main()
