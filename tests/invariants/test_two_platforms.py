"""Two `lastro up` on one MongoDB, Cassandra, Redis and Kafka: each runs every function, and one is killed under load.

`pytest -s` shows the number of payments by final status, and the number of requests that each platform answered.
LASTRO_TWO_PLATFORMS_PAYMENTS sets the number of payments.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.started import Started, run, started
from tests.invariants.crash_client import Client, Died
from tests.waiting import PATIENCE_SECONDS

PAYMENTS: Final = int(os.environ.get("LASTRO_TWO_PLATFORMS_PAYMENTS", "1000"))
WORKERS: Final = 16
FUNDED: Final = (1_000_000, 1_000_000, 1_000_000, 500)
"""Opening balance of each payer, in centavos. The last payer cannot pay for all its payments, so most are declined."""
PAYEES: Final = 3
SHARED_FILES: Final = ("keys.json", "secrets.json", "credentials.json")
"""Files that both platforms share: the keys, the named secrets, and the demo tenant's credentials."""
_ENDED: Final = frozenset({"settled", "declined", "failed", "canceled", "expired"})
_PAUSE: Final = 0.05


@dataclass
class Process:
    """The process of a platform, with the attributes that the client of the crash tests uses."""

    started: Started
    answered: int = 0

    @property
    def base_url(self) -> str:
        """The base URL of the platform."""
        return str(self.started.announced["base_url"])

    async def ended(self) -> int:
        """Return the exit code if the process has ended; a connection can also fail while it runs."""
        return self.started.process.poll() or 0


@dataclass
class Pair:
    """The platforms, a client of each, and the answers received."""

    stack: ExitStack
    folder: Path
    settings: dict[str, str]
    processes: dict[str, Process] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        """Start a platform on its own data directory, with the keys of the first."""
        data_dir = self.folder / name
        if name != "a" and not data_dir.exists():
            data_dir.mkdir(mode=0o700)
            for file in SHARED_FILES:
                shutil.copy2(self.folder / "a" / file, data_dir / file)
        context = started(data_dir, errors=self.folder / f"{name}.log", settings=self.settings)
        process = await asyncio.to_thread(self.stack.enter_context, context)
        self.processes[name] = Process(process)
        client = Client(json.loads((self.folder / "a" / "credentials.json").read_text()))
        await client.meet(self.processes[name])  # type: ignore[arg-type]  # has the attributes that a client uses
        self.clients[name] = client

    async def kill(self, name: str) -> None:
        """Kill a platform with SIGKILL."""
        client = self.clients.pop(name)
        self.processes[name].started.stop(signal.SIGKILL)
        await client.leave()

    async def anywhere(self, first: int, call: Callable[[Client], Awaitable[Any]]) -> Any:
        """Make a call at one platform, and at the other one if the first has ended or does not answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                names = sorted(self.clients)
                name = names[first % len(names)]
                try:
                    answer = await call(self.clients[name])
                except Died:
                    first += 1
                    await asyncio.sleep(_PAUSE)
                else:
                    self.processes[name].answered += 1
                    return answer


@pytest.fixture
def settings(
    mongodb_url: str, cassandra_url: str, redis_url: str, kafka_url: str, tmp_path: Path, bus: str
) -> dict[str, str]:
    """Return the settings of both platforms: a database, a keyspace, keys and topics of this test only."""
    name = f"two_{os.getpid()}_{tmp_path.name[-12:]}".lower().replace("-", "_")
    found = {
        "LASTRO_DOCUMENTS": mongodb_url.replace("/lastro?", f"/{name}?"),
        "LASTRO_LEDGER": cassandra_url.replace("/lastro?", f"/{name}?"),
        "LASTRO_CACHE": f"{redis_url}?namespace={name}",
        "LASTRO_OUTBOX_GRACE_SECONDS": "5",
        "LASTRO_SAGA_STEP_SECONDS": "10",
        # How long the keys of requests in progress stay locked after their platform was killed.
        "LASTRO_LOCK_SECONDS": "5",
    }
    commands: list[tuple[str, ...]] = [("migrate",)]
    if bus == "kafka":
        found["LASTRO_BUS"] = f"{kafka_url}?prefix={name}.&group={name}"
        commands.append(("topics", "apply", "--max-replicas", "1"))
    for command in commands:
        done = run(*command, **found)
        assert done.returncode == 0, done.stderr
    return found


@pytest.fixture
async def pair(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[Pair]:
    """Return two platforms that are not started yet."""
    with ExitStack() as stack:
        pair = Pair(stack, tmp_path, settings)
        yield pair
        for client in pair.clients.values():
            await client.leave()


def brl(value: int) -> dict[str, Any]:
    """Return an amount in BRL from centavos."""
    return {"value": value, "currency": "BRL"}


async def open_accounts(client: Client) -> tuple[list[str], list[str]]:
    """Create accounts: the payers', with money, and the payees'. Return both."""
    document = {"type": "cpf", "number": "529.982.247-25"}
    body = {"kind": "merchant", "name": "Loja", "document": document, "email": "loja@example.com"}
    owner = (await client.post("owner", "/v1/users", body))["id"]
    accounts = [
        (await client.post(f"account-{number}", "/v1/accounts", {"owner_id": owner, "currency": "BRL"}))["id"]
        for number in range(len(FUNDED) + PAYEES)
    ]
    payers, payees = accounts[: len(FUNDED)], accounts[len(FUNDED) :]
    for account, value in zip(payers, FUNDED, strict=True):
        deposit = {"account_id": account, "amount": brl(value), "method": "pix"}
        made = await client.post(f"deposit-{account}", "/v1/deposits", deposit)
        await reaches(client, f"/v1/deposits/{made['id']}", frozenset({"settled"}))
    return payers, payees


async def reaches(client: Client, path: str, statuses: frozenset[str]) -> dict[str, Any]:
    """Read a resource until it has one of the statuses, and return it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (found := await client.get(path))["status"] not in statuses:  # noqa: ASYNC110 - another process
            await asyncio.sleep(_PAUSE)
    resource: dict[str, Any] = found
    return resource


async def pay_all(pair: Pair, payers: list[str], payees: list[str]) -> dict[int, dict[str, Any]]:
    """Send all payments, alternately to both platforms; kill one half-way and start it again later."""
    numbers = iter(range(PAYMENTS))
    made: dict[int, dict[str, Any]] = {}

    async def work() -> None:
        for number in numbers:
            body = {
                "amount": brl(1 + number % 7),
                "method": "internal",
                "payer_account_id": payers[number % len(payers)],
                "payee_account_id": payees[number % len(payees)],
            }
            key = f"payment-{number}"
            made[number] = await pair.anywhere(number, partial(Client.post, key=key, path="/v1/payments", body=body))

    async def kill_and_start() -> None:
        while len(made) < PAYMENTS // 2:  # noqa: ASYNC110 - no event is set when a payment is made
            await asyncio.sleep(_PAUSE)
        await pair.kill("a")
        while len(made) < PAYMENTS * 3 // 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_PAUSE)
        await pair.start("a")

    await asyncio.gather(kill_and_start(), *(work() for _ in range(WORKERS)))
    return made


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("bus", ["kafka", "log"])
async def test_two_platforms_of_which_one_is_killed_have_right_books(pair: Pair, bus: str) -> None:
    """Every accepted payment reaches one final status; balances, ledger and statements agree; no hold or dead letter is
    left.

    The events are on Kafka, where both platforms share the work, or in a log of each platform.
    """
    await pair.start("a")
    await pair.start("b")
    payers, payees = await open_accounts(pair.clients["a"])
    made = await pay_all(pair, payers, payees)
    client = pair.clients["b"]
    ended = {number: await reaches(client, f"/v1/payments/{payment['id']}", _ENDED) for number, payment in made.items()}
    assert len({payment["id"] for payment in ended.values()}) == PAYMENTS
    assert len(await client.listed("/v1/payments")) == PAYMENTS
    await check_first_answers(pair, made)
    settled = [payment for payment in ended.values() if payment["status"] == "settled"]
    endings = dict(Counter(payment["status"] for payment in ended.values()))
    answered = {name: process.answered for name, process in pair.processes.items()}
    print(f"\n{PAYMENTS} payments, events in {bus}: {endings}; answered by {answered} (a: since its second start)")
    assert {payment["failure"]["code"] for payment in ended.values() if payment["failure"]} <= {"insufficient_funds"}
    await check_books(client, payers, payees, settled)
    await asyncio.to_thread(verify_ledger, pair)


async def check_first_answers(pair: Pair, made: dict[int, dict[str, Any]]) -> None:
    """Repeat some of the commands at the platform that did not answer them: each gets its first answer."""
    for number in range(0, PAYMENTS, 10):
        for client in pair.clients.values():
            kept = client.kept.get(f"payment-{number}")
            if kept is None:
                continue
            for other in pair.clients.values():
                again = await other.post(f"payment-{number}", kept.path, json.loads(kept.body))
                assert again == made[number]


async def check_books(client: Client, payers: list[str], payees: list[str], settled: list[dict[str, Any]]) -> None:
    """Check balances, holds, statements, totals and dead letters against the settled payments."""
    paid, received = Counter[str](), Counter[str]()
    for payment in settled:
        paid[payment["payer_account_id"]] += payment["amount"]["value"]
        received[payment["payee_account_id"]] += payment["amount"]["value"]
    expected = {payer: value - paid[payer] for payer, value in zip(payers, FUNDED, strict=True)}
    expected |= {payee: received[payee] for payee in payees}
    assert min(expected.values()) >= 0
    for account, posted in expected.items():
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await client.get(f"/v1/accounts/{account}/balance"))["posted"] != posted or found["held"]:  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
        assert (found["posted"], found["held"], found["available"]) == (posted, 0, posted)
    (brazil,) = (await client.get("/v1/ledger/trial-balance"))["data"]
    assert brazil["debits"] == brazil["credits"]
    total = brazil["debits"]
    assert (total if isinstance(total, int) else total["value"]) == sum(FUNDED) + sum(paid.values())
    assert await client.listed("/v1/dead-letters") == []
    for payee in payees:
        lines = await client.listed(f"/v1/accounts/{payee}/statement")
        assert sum(line["amount"]["value"] for line in lines) == received[payee]
        assert lines[-1]["balance_after"]["value"] == received[payee]


def verify_ledger(pair: Pair) -> None:
    """Compute the whole ledger again from its entries."""
    folder = pair.folder / "reader"
    folder.mkdir(mode=0o700)
    for file in SHARED_FILES:
        shutil.copy2(pair.folder / "a" / file, folder / file)
    verified = run("ledger", "verify", "--data-dir", str(folder), **pair.settings)
    assert (verified.returncode, verified.stderr) == (0, "the ledger has no difference\n"), verified.stderr
