"""A schedule's tick → ledger.day_sealed for each day that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from events.ledger import DaySealed
from events.sweeps import Tick
from shared.context.context import Context
from shared.context.ledger_seals import (
    FIRST_DIGEST,
    PAGE_ENTRIES,
    next_day,
    row_digests,
    seal_begun,
    seal_extended,
    stored_rows,
)
from shared.context.ledger_verification import LedgerDifference
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.core.clock import format_time
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.ledger_seals import SEAL_PAGES, SEALS, SealDocument, SealPageDocument, page_id, page_ids
from shared.records.tenants import TENANTS

_UNIT_ENTRIES: Final = 8 * PAGE_ENTRIES
"""About how many entries one commit seals."""
_UNIT_ACCOUNTS: Final = 200
"""How many accounts one commit looks at."""


class _Step(NamedTuple):
    """What one unit of work has done: how many entries and accounts it has read, and whether there may be more."""

    read: int
    more: bool


@event_function(Tick, platform=True)
async def seal_days(_tick: Tick, ctx: Context) -> None:
    """Seal every day of each tenant's ledger that has ended, oldest first.

    One tick reads at most LASTRO_LEDGER_SEAL_ENTRIES entries and accounts of a tenant; the next one goes on.
    """
    async for tenant_id in tenant_ids(ctx):
        try:
            await _seal_tenant(ctx, tenant_id)
        except LedgerDifference as error:
            ctx.count("ledger_seals", "refused", 1)
            ctx.log.error("the ledger cannot be sealed: %s", error)  # noqa: TRY400 - the audit reports it as well


async def _seal_tenant(ctx: Context, tenant_id: str) -> None:
    accounts: list[str] | None = None
    read, number = 0, 0
    while read < ctx.settings.ledger_seal_entries:
        if accounts is None:
            if await run_in_tenant_unit_of_work(ctx, tenant_id, f"due/{ctx.origin.cause_id}", _due) is None:
                return
            # The accounts of a tenant are read once a tick: an account that is opened later has no entry of a day
            # that has ended, or its entries are in the next seal.
            accounts = sorted(account.account_id for account in await ctx.ledger.turnover(tenant_id))
        number += 1
        cause_id = f"seal/{number}/{ctx.origin.cause_id}"
        step = await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, partial(_seal_some, accounts))
        read += step.read
        if not step.more:
            return


class _Due(NamedTuple):
    """The day that is to be sealed next, and the newest seal, which may be that of the day, in progress."""

    day: str
    newest: SealDocument | None


async def _due(scope: Context) -> _Due | None:
    """Return the day that is to be sealed next, or None when it has not ended long enough ago."""
    found = await scope.find(SEALS, Query(newest_first=True, limit=1))
    newest = found[0] if found else None
    if newest is None:
        tenant = await scope.required(TENANTS, scope.tenant_id)
        day = tenant["created_at"][:10]
    else:
        day = newest["id"] if newest["status"] == "sealing" else next_day(newest["id"])
    ended_before = scope.now - timedelta(seconds=scope.settings.ledger_seal_grace_seconds)
    return _Due(day, newest) if _end(day) <= format_time(ended_before) else None


async def _seal_some(accounts: Sequence[str], scope: Context) -> _Step:
    """Seal the next entries of the oldest day that is not sealed."""
    due = await _due(scope)
    if due is None:
        return _Step(0, more=False)
    seal = _open_seal(scope, due)
    todo = [id for id in accounts if id > seal["done_account"]]
    progress = _Progress(scope, seal)
    for position, account_id in enumerate(todo):
        is_full = position >= _UNIT_ACCOUNTS or progress.entries >= _UNIT_ENTRIES
        if is_full or not await progress.seal_account(account_id):
            progress.store()
            return _Step(position + progress.entries, more=True)
    progress.end()
    return _Step(len(todo) + progress.entries + 1, more=True)


class _Progress:
    """The entries that a unit of work adds to a seal."""

    def __init__(self, scope: Context, seal: SealDocument) -> None:
        self._scope = scope
        self._seal = seal
        self._digest = seal["digest"]
        self._done_account = seal["done_account"]
        self._accounts = 0
        self._transfers = 0
        self.entries = 0

    async def seal_account(self, account_id: str) -> bool:
        """Seal the entries of an account up to the end of the day. Return False when there are more of them than one
        commit takes."""
        scope, end = self._scope, _end(self._seal["id"])
        last = await _last_sealed(scope, account_id)
        has_page_of_day = last is not None and last[1] == self._seal["id"]
        after = 0 if last is None else last[0]
        while True:
            page = await scope.ledger.entries(scope.tenant_id, account_id, after, PAGE_ENTRIES)
            page = [entry for entry in page if entry.recorded_at < end]
            if page:
                rows, digest = stored_rows(await row_digests(scope.ledger, scope.tenant_id, page))
                first, after = page[0].sequence, page[-1].sequence
                stored: SealPageDocument = {
                    "id": page_id(account_id, first),
                    "tenant_id": scope.tenant_id,
                    "version": 1,
                    "day": self._seal["id"],
                    "account_id": account_id,
                    "first": first,
                    "last": after,
                    "rows": rows,
                    "digest": digest,
                }
                scope.insert(SEAL_PAGES, stored)
                self._digest = seal_extended(self._digest, account_id, first, after, digest)
                self._transfers += sum(entry.leg == 0 for entry in page)
                self.entries += len(page)
                self._accounts += not has_page_of_day
                has_page_of_day = True
            if len(page) < PAGE_ENTRIES:
                self._done_account = account_id
                return True
            if self.entries >= _UNIT_ENTRIES:
                return False

    def store(self) -> SealDocument:
        """Store the progress with the pages."""
        seal = self._seal
        return self._scope.update(
            SEALS,
            seal,
            digest=self._digest,
            done_account=self._done_account,
            accounts=seal["accounts"] + self._accounts,
            entries=seal["entries"] + self.entries,
            transfers=seal["transfers"] + self._transfers,
        )

    def end(self) -> None:
        """Store the final seal, and publish it."""
        scope = self._scope
        seal = scope.update(SEALS, self.store(), status="sealed", sealed_at=scope.now_text)
        scope.count("ledger_seals", "sealed", 1)
        scope.emit(
            DaySealed(
                day=seal["id"],
                digest=seal["digest"],
                previous_digest=seal["previous_digest"],
                accounts=seal["accounts"],
                entries=seal["entries"],
                transfers=seal["transfers"],
            ),
            event_key=f"seal/{seal['id']}",
        )


def _open_seal(scope: Context, due: _Due) -> SealDocument:
    """Return the seal of a day that is in progress, or begin it."""
    newest = due.newest
    if newest is not None and newest["id"] == due.day:
        return newest
    previous = FIRST_DIGEST if newest is None else newest["digest"]
    seal: SealDocument = {
        "id": due.day,
        "tenant_id": scope.tenant_id,
        "version": 1,
        "status": "sealing",
        "previous_digest": previous,
        "digest": seal_begun(scope.tenant_id, due.day, previous),
        "done_account": "",
        "accounts": 0,
        "entries": 0,
        "transfers": 0,
        "started_at": scope.now_text,
        "sealed_at": None,
    }
    return scope.insert(SEALS, seal)


async def _last_sealed(scope: Context, account_id: str) -> tuple[int, str] | None:
    """Return the number of an account's last sealed entry, and the day of its page."""
    query = Query(ranges={"id": page_ids(account_id)}, newest_first=True, limit=1)
    found = await scope.find(SEAL_PAGES, query)
    return (found[0]["last"], found[0]["day"]) if found else None


def _end(day: str) -> str:
    """Return the first moment after a day (UTC)."""
    return f"{next_day(day)}T00:00:00.000000Z"
