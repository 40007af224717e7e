"""A schedule's tick: find received payments, and payments out that ended or came back, which were not reported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from events.sweeps import Tick
from functions.providers._listed_payments import next_round, read_changes
from functions.providers._received_reports import process_received
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time, parse_time
from shared.core.problems import Problem
from shared.functions.decorators import event_function
from shared.ports.documents import PLATFORM, Unavailable
from shared.ports.rail import Rail, RailRefused, Receipt
from shared.ports.rail_payments import ListingRail
from shared.records.provider_cursors import PROVIDER_CURSORS, ProviderCursorDocument

REPORT_SECONDS: Final = 60
"""The time that a provider has to report a payment before it is read from its API."""
OVERLAP_SECONDS: Final = 120
"""How much of the past is read again: a provider may list a payment later than its time."""
FIRST_SECONDS: Final = 3600
"""How much of the past is read when nothing has been read yet."""
WINDOW_SECONDS: Final = 900
MAX_WINDOWS: Final = 100
MAX_PAGES: Final = 1000


@event_function(Tick, platform=True)
async def poll_payments(_tick: Tick, ctx: Context) -> None:
    """Read the payments that each provider has received or was ordered to make, and process what was not reported.

    The period that was read is stored after each window, so that a tick continues where the previous one ended: also
    after an outage, in which no callback arrived. A payment is processed once, however often it is read and reported.
    """
    for provider, rail in ctx.rails.items():
        if rail.is_configured:
            await _attempt(ctx, provider, _poll(ctx, provider, partial(_read_window, ctx, provider, rail)))
    for name, payments in ctx.payment_rails.items():
        if isinstance(payments, ListingRail) and payments.is_configured:
            await _attempt(ctx, name, _poll_listed(ctx, name, payments))


async def _attempt(ctx: Context, provider: str, reading: Coroutine[Any, Any, None]) -> None:
    """Await a reading. One provider that does not answer delays no other."""
    try:
        await reading
    except (Unavailable, RailRefused) as error:
        ctx.log.warning("the payments at %s cannot be read now, the next tick continues: %s", provider, error)


async def _poll_listed(ctx: Context, name: str, rail: ListingRail) -> None:
    """Read a list of payments out: each period once when it is by the time of the last change, and otherwise again and
    again while the payments in it may change."""
    place = f"{name}:payments"

    async def read(since: datetime, until: datetime) -> None:
        await read_changes(ctx, name, rail, since, until)

    if not rail.changes_for:
        await _poll(ctx, place, read)
        return
    cursor = await ctx.get(PROVIDER_CURSORS, place)
    before = None if cursor is None else parse_time(cursor["read_until"])
    since, until = next_round(rail, before, ctx.now - timedelta(seconds=REPORT_SECONDS))
    await read(since, until)
    await _store_cursor(ctx, place, format_time(until), begins_again=before is None or since < before)


async def _poll(ctx: Context, place: str, read: Callable[[datetime, datetime], Awaitable[str | None]]) -> None:
    """Read the windows from the place where the last tick ended until now. `read` returns None, or the time from which
    a window must be read again."""
    last = ctx.now - timedelta(seconds=REPORT_SECONDS)
    cursor = await ctx.get(PROVIDER_CURSORS, place)
    if cursor is None:
        since = last - timedelta(seconds=FIRST_SECONDS)
    else:
        since = parse_time(cursor["read_until"]) - timedelta(seconds=OVERLAP_SECONDS)
    for _ in range(MAX_WINDOWS):
        until = min(since + timedelta(seconds=WINDOW_SECONDS), last)
        if until <= since:
            return
        unfinished = await read(since, until)
        await _store_cursor(ctx, place, format_time(until) if unfinished is None else unfinished)
        if unfinished is not None:
            return
        since = until


async def _read_window(ctx: Context, provider: str, rail: Rail, since: datetime, until: datetime) -> str | None:
    """Process the payments of a window. Return the time of the first one whose charge is still being created, or
    None."""
    waiting: list[str] = []
    for number in range(MAX_PAGES):
        page = await rail.received(since, until, number)
        waiting += [
            receipt.paid_at or format_time(since)
            for receipt in page.receipts
            if not await _process(ctx, provider, receipt)
        ]
        if not page.has_more:
            return min(waiting, default=None)
    ctx.log.error("%s lists more than %d pages of payments in %d seconds", provider, MAX_PAGES, WINDOW_SECONDS)
    return format_time(since)


async def _process(ctx: Context, provider: str, receipt: Receipt) -> bool:
    """Process a payment. Return False if its charge is being created, so that it must be read again."""
    try:
        await process_received(ctx, provider, receipt)
    except Problem as problem:
        if problem.code != "dependency_unavailable":
            raise
        return False
    return True


async def _store_cursor(ctx: Context, place: str, read_until: str, *, begins_again: bool = False) -> None:
    async def store(scope: Context) -> None:
        cursor = await scope.get(PROVIDER_CURSORS, place)
        if cursor is None:
            made: ProviderCursorDocument = {
                "id": place,
                "tenant_id": PLATFORM,
                "version": 1,
                "read_until": read_until,
                "updated_at": scope.now_text,
            }
            scope.insert(PROVIDER_CURSORS, made)
        elif begins_again or cursor["read_until"] < read_until:
            scope.update(PROVIDER_CURSORS, cursor, read_until=read_until, updated_at=scope.now_text)

    await run_in_tenant_unit_of_work(ctx, PLATFORM, f"cursor/{place}/{read_until}", store)
