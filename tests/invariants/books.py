"""Checks of the books: invariants that hold for every tenant at any moment, and those that hold when nothing is in
progress."""

from __future__ import annotations

from typing import Any, Protocol

from shared.context.runtime import Runtime
from shared.ports.documents import Collection, Query
from shared.records.accounts import ACCOUNTS, HOLDS
from shared.records.deposits import DEPOSITS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.returns import RETURNS


class Platform(Protocol):
    """The platform under test: a running one, or the tests' own world."""

    @property
    def runtime(self) -> Runtime: ...


class Reader(Protocol):
    """A client that reads a tenant's resources."""

    @property
    def id(self) -> str: ...

    async def get(self, path: str) -> Any:
        """Send a GET, which must succeed, and return its body."""
        ...

    async def listed(self, path: str) -> list[Any]:
        """Return all items of a list, page by page."""
        ...


async def everything(world: Platform, tenant_id: str, collection: Collection[Any, ...]) -> list[Any]:
    """Return all documents of a tenant in a collection."""
    found: list[Any] = []
    while True:
        after = found[-1]["id"] if found else None
        page = await world.runtime.documents.find(collection, tenant_id, Query(after=after, limit=1000))
        found += page
        if len(page) < 1000:
            return found


async def check_always(world: Platform, tenant: Reader) -> None:
    """Check the invariants that hold between any two steps, whatever is in progress."""
    turnover = await world.runtime.ledger.turnover(tenant.id)
    for currency in {line.currency for line in turnover}:
        lines = [line for line in turnover if line.currency == currency]
        assert sum(line.debits for line in lines) == sum(line.credits for line in lines)
    held: dict[str, int] = {}
    for hold in await everything(world, tenant.id, HOLDS):
        if hold["status"] == "active":
            held[hold["account_id"]] = held.get(hold["account_id"], 0) + hold["amount"]
    for account in await everything(world, tenant.id, ACCOUNTS):
        assert account["posted"] - account["held"] + account["overdraft_limit"] >= 0, account
        assert account["held"] == held.get(account["id"], 0), account
    for deposit in await everything(world, tenant.id, DEPOSITS):
        assert 0 <= deposit["amount_returned"] + deposit["amount_returning"] <= deposit["amount"], deposit
    for payment in await everything(world, tenant.id, PAYMENTS):
        assert 0 <= payment["amount_refunded"] + payment["amount_refunding"] <= payment["amount_captured"], payment
        assert payment["amount_captured"] <= payment["amount"], payment


async def check_quiet(world: Platform, tenant: Reader, *, open_ones: bool = False) -> None:
    """Check the invariants that hold when nothing is in progress. With `open_ones`, authorizations may wait for their
    capture."""
    assert await tenant.listed("/v1/dead-letters") == []
    await check_books(world, tenant, open_ones=open_ones)


async def check_books(world: Platform, tenant: Reader, *, open_ones: bool = False) -> None:
    """Check the same, except that there may be dead letters."""
    await check_always(world, tenant)
    payments = await everything(world, tenant.id, PAYMENTS)
    waiting = {"authorized"} if open_ones else set()
    ended = {"settled", "declined", "failed", "canceled", "expired"}
    assert {payment["status"] for payment in payments} <= ended | waiting
    refunds = await everything(world, tenant.id, REFUNDS)
    assert {refund["status"] for refund in refunds} <= {"settled", "failed"}
    await _check_holds(world, tenant, {payment["id"] for payment in payments if payment["status"] in waiting})
    await _check_balances(world, tenant)
    await _check_causes(world, tenant, payments, refunds)


async def _check_holds(world: Platform, tenant: Reader, waiting: set[str]) -> None:
    active = {hold["cause_id"] for hold in await everything(world, tenant.id, HOLDS) if hold["status"] == "active"}
    assert active == waiting
    if not waiting:
        assert {account["held"] for account in await everything(world, tenant.id, ACCOUNTS)} <= {0}


async def _check_balances(world: Platform, tenant: Reader) -> None:
    """Check that account, ledger and statement agree for every account, line by line."""
    for account in await everything(world, tenant.id, ACCOUNTS):
        entries = await tenant.listed(f"/v1/ledger/accounts/{account['id']}/entries")
        lines = await tenant.listed(f"/v1/accounts/{account['id']}/statement")
        movements = [(line["transfer_id"], line["direction"], line["amount"], line["balance_after"]) for line in lines]
        assert movements == [
            (entry["transfer_id"], entry["direction"], entry["amount"], entry["balance_after"]) for entry in entries
        ]
        assert len({transfer_id for transfer_id, *_ in movements}) == len(movements)
        balance = 0
        for _, direction, amount, balance_after in movements:
            balance += amount["value"] if direction == "credit" else -amount["value"]
            assert balance_after["value"] == balance
        assert account["posted"] == balance
        assert (await tenant.get(f"/v1/accounts/{account['id']}/balance"))["posted"] == balance


async def _check_causes(world: Platform, tenant: Reader, payments: list[Any], refunds: list[Any]) -> None:
    """Check that each settled payment, refund and deposit has exactly one transfer, and each transfer has its cause."""
    # Over a rail another amount may have been moved than was captured; the suspense account has the difference.
    expected = {
        paid["transfer_id"]: paid["amount_captured"] if paid["rail"] is None else paid["rail"]["amount_moved"]
        for paid in payments
        if paid["amount_captured"]
    }
    expected |= {
        refund["transfer_id"]: refund["amount"] + refund["excess"]
        for refund in refunds
        if refund["status"] == "settled"
    }
    for deposit in await everything(world, tenant.id, DEPOSITS):
        if deposit["status"] == "settled":
            expected[deposit["transfer_id"]] = deposit["amount"]
    for returned in await everything(world, tenant.id, RETURNS):
        if returned["status"] == "settled":
            expected[returned["transfer_id"]] = returned["amount"]
    posted: dict[str, int] = {}
    for line in await world.runtime.ledger.turnover(tenant.id):
        for entry in await world.runtime.ledger.entries(tenant.id, line.account_id, 0, 100_000):
            debit = entry.amount if entry.direction == "debit" else 0
            posted[entry.transfer_id] = posted.get(entry.transfer_id, 0) + debit
    assert posted == expected
    for payment in payments:
        of_it = [refund for refund in refunds if refund["payment_id"] == payment["id"]]
        given_back = sum(refund["amount"] for refund in of_it if refund["status"] == "settled")
        assert (payment["amount_refunded"], payment["amount_refunding"]) == (given_back, 0)
