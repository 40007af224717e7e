"""The daily audit of a tenant's ledger.

It compares three records of the same money: the ledger's entries, the documents that caused its transfers, and the
statement lines, which are made from the ledger's facts only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

from shared.context.context import Context
from shared.context.ledger_periods import entries_between
from shared.core.clock import format_time
from shared.ports.documents import Collection, Query
from shared.ports.ledger import Entry, LedgerDamaged, RecordedTransfer, UnbalancedTransfer
from shared.records.deposits import DEPOSITS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.returns import RETURN_PREFIX, RETURNS
from shared.records.statement_lines import ID_SEPARATOR, LINES
from shared.records.system_accounts import clearing_account, is_system_account

MAX_DIFFERENCES: Final = 20
"""How many differences a report names; it counts all."""
_PAGE: Final = 100
# An authorization lasts at most 30 days and a payment comes back for 90 days after it is made, and the id of a refund
# for that has the time of its payment: so what settles on a day has an id that is at most so old.
_LONGEST: Final = timedelta(days=31 + 90 + 1)
_CAUSES: Final[dict[str, Collection[Any, ...]]] = {
    "payment": PAYMENTS,
    "refund": REFUNDS,
    "deposit": DEPOSITS,
    "return": RETURNS,
}


class Day(NamedTuple):
    """A day in UTC: `name` is its date, `start` is inclusive and `end` exclusive."""

    name: str
    start: str
    end: str
    oldest: int
    """The oldest time of a payment that can settle on the day, in milliseconds since 1970."""
    last: int
    """The end of the day, in milliseconds since 1970."""


def day_of(time: datetime) -> Day:
    """Return the day of a time in UTC."""
    start = time.replace(hour=0, minute=0, second=0, microsecond=0)
    end = start + timedelta(days=1)
    oldest, last = (int(moment.timestamp() * 1000) for moment in (start - _LONGEST, end))
    return Day(f"{start:%Y-%m-%d}", format_time(start), format_time(end), oldest, last)


class Audit:
    """The audit of one day of one tenant. `run` fills the other attributes."""

    def __init__(self, ctx: Context, day: Day) -> None:
        self._ctx = ctx
        self._day = day
        self.entries = 0
        self.transfers = 0
        self.difference_count = 0
        self.differences: list[str] = []
        """The first differences, in words; ids only."""
        self._postings = sha256()
        self._events = sha256()

    @property
    def postings_digest(self) -> str:
        """The digest of the day's entries of payment accounts."""
        return self._postings.hexdigest()

    @property
    def events_digest(self) -> str:
        """The digest of the day's statement lines, which are made from events only."""
        return self._events.hexdigest()

    async def run(self) -> None:
        """Compare everything. Raises Unavailable."""
        turnover = await self._ctx.ledger.turnover(self._ctx.tenant_id)
        sums: dict[str, int] = {}
        for account in turnover:
            sums[account.currency] = sums.get(account.currency, 0) + account.debits - account.credits
        for currency, difference in sums.items():
            if difference:
                self._report(f"debits less credits are {difference} in {currency}")
        for account in turnover:
            await self._account(account.account_id)
        await self._settled(PAYMENTS, "payment", "pay")
        await self._settled(REFUNDS, "refund", "rfd")
        await self._settled(RETURNS, "return", RETURN_PREFIX)

    async def _account(self, account_id: str) -> None:
        ctx, day = self._ctx, self._day
        is_payment_account = not is_system_account(account_id)
        postings = sha256()
        async for page in entries_between(ctx.ledger, ctx.tenant_id, account_id, day.start, day.end):
            self.entries += len(page)
            await asyncio.gather(*(self._entry(entry) for entry in page))
            if is_payment_account:
                for entry in page:
                    postings.update(_row(entry._asdict()))
        if is_payment_account:
            events = await self._lines_digest(account_id)
            self._postings.update(postings.digest())
            self._events.update(events)
            if events != postings.digest():
                self._report(f"the statement of {account_id} differs from the ledger")

    async def _lines_digest(self, account_id: str) -> bytes:
        prefix = f"{account_id}{ID_SEPARATOR}"
        query = Query(ranges={"id": (prefix + self._day.start, prefix + self._day.end)}, limit=_PAGE)
        digest = sha256()
        while page := await self._ctx.find(LINES, query):
            for line in page:
                digest.update(_row(line))
            query = query._replace(after=page[-1]["id"])
        return digest.digest()

    async def _entry(self, entry: Entry) -> None:
        """Check that an entry is a leg of its transfer and, at the first leg, that the transfer has its cause."""
        transfer = await self._transfer(entry.transfer_id)
        if transfer is None:
            self._report(f"the transfer {entry.transfer_id} of an entry of {entry.account_id} is not recorded")
            return
        if entry.leg >= len(transfer.entries) or transfer.entries[entry.leg] != entry:
            self._report(f"the entry {entry.sequence} of {entry.account_id} is not the leg of its transfer")
        if entry.leg == 0:
            self.transfers += 1
            await self._cause(transfer)

    async def _transfer(self, transfer_id: str) -> RecordedTransfer | None:
        try:
            return await self._ctx.ledger.transfer(self._ctx.tenant_id, transfer_id)
        except (UnbalancedTransfer, LedgerDamaged) as error:
            self._report(f"the transfer {transfer_id}: {error}")
            return None

    async def _cause(self, transfer: RecordedTransfer) -> None:
        collection = _CAUSES.get(transfer.cause.type)
        found: Any = None if collection is None else await self._ctx.get(collection, transfer.cause.id)
        if found is not None and found["transfer_id"] == transfer.id:
            return
        self._report(f"the transfer {transfer.id} has no {transfer.cause.type} {transfer.cause.id}")

    async def _settled(self, collection: Collection[Any, ...], kind: str, prefix: str) -> None:
        """Check that each payment, refund or return that settled on the day has exactly its transfer."""
        day = self._day
        query = Query(
            {"status": "settled"},
            ranges={
                "id": (f"{prefix}_{day.oldest:012x}", f"{prefix}_{day.last:012x}"),
                "updated_at": (day.start, day.end),
            },
            limit=_PAGE,
        )
        while page := await self._ctx.find(collection, query):
            await asyncio.gather(*(self._settled_one(kind, document) for document in page))
            query = query._replace(after=page[-1]["id"])

    async def _settled_one(self, kind: str, document: Any) -> None:
        transfer = await self._transfer(document["transfer_id"])
        amount = document["amount_captured"] if kind == "payment" else document["amount"]
        if kind == "refund" and is_system_account(document["payee_account_id"]):
            amount += document.get("excess", 0)
        if transfer is None or tuple(transfer.cause) != (kind, document["id"]):
            self._report(f"the {kind} {document['id']} is settled without its transfer")
        elif _amounts(kind, transfer.entries, document) != {amount}:
            self._report(f"the {kind} {document['id']} has another amount than its transfer")

    def _report(self, difference: str) -> None:
        self.difference_count += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(difference)


def _row(row: Any) -> bytes:
    """Return what an entry and its statement line have in common."""
    names = ("account_id", "sequence", "recorded_at", "direction", "amount", "balance_after", "currency", "transfer_id")
    return "\n".join([*(str(row[name]) for name in names), ""]).encode()


def _amounts(kind: str, entries: Sequence[Entry], document: Any) -> set[int]:
    """Return what the payer was debited and what the payee was credited, except for a clearing account, which has what
    the provider has moved. Between two system accounts, as when a closed account is returned money, it is both."""
    if kind == "return":
        payer, payee = document["account_id"], clearing_account("pix", document["currency"])
    else:
        payer, payee = document["payer_account_id"], document["payee_account_id"]
    sides = {("debit", payer), ("credit", payee)}
    both_system = is_system_account(payer) and is_system_account(payee)
    return {
        entry.amount
        for entry in entries
        if (entry.direction, entry.account_id) in sides and (both_system or not is_system_account(entry.account_id))
    }
