"""A schedule's tick → ledger.audit_completed for each tenant."""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import Final

from events.ledger import AuditCompleted
from events.sweeps import Tick
from functions.operations._audit import Audit, Day, day_of
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.audits import AUDITS, AuditDocument

_MOST_DAYS: Final = 7
"""How many days of a tenant one tick audits."""


@event_function(Tick, platform=True)
async def audit_day(_tick: Tick, ctx: Context) -> None:
    """Audit the day before, of every tenant, and the days that were missed, and publish the outcomes.

    A day that has passed is not audited again. The day before is audited at each tick until it passes; its audits
    publish the same fact. One tick audits at most a week of a tenant, oldest day first; the next goes on.
    """
    async for tenant_id in tenant_ids(ctx):
        due = await run_in_tenant_unit_of_work(ctx, tenant_id, f"audits/{ctx.origin.cause_id}", _due_days)
        for day in due:
            cause_id = f"audit/{day.name}/{ctx.origin.cause_id}"
            await run_in_tenant_unit_of_work(ctx, tenant_id, cause_id, partial(_audit, day))


async def _due_days(scope: Context) -> list[Day]:
    """Return the days of the tenant to audit now, oldest first. Without an audit yet, it is the day before."""
    yesterday = scope.now - timedelta(days=1)
    newest = await scope.find(AUDITS, Query(newest_first=True, limit=1))
    if not newest:
        return [day_of(yesterday)]
    [last] = newest
    missed = (yesterday.date() - date.fromisoformat(last["id"])).days
    if missed <= 0:
        return [] if last["passed"] else [day_of(yesterday)]
    return [day_of(yesterday - timedelta(days=missed - 1 - place)) for place in range(min(missed, _MOST_DAYS))]


async def _audit(day: Day, scope: Context) -> None:
    audit = Audit(scope, day)
    await audit.run()
    passed = not audit.difference_count
    scope.count("ledger_audits", "passed" if passed else "failed", 1)
    for difference in audit.differences:
        scope.log.error("audit of %s: %s", day.name, difference)
    await _store(day, audit, scope)
    scope.emit(
        AuditCompleted(
            day=day.name,
            passed=passed,
            transfers=audit.transfers,
            entries=audit.entries,
            postings_digest=audit.postings_digest,
            events_digest=audit.events_digest,
            difference_count=audit.difference_count,
            differences=tuple(audit.differences),
        ),
        event_key=f"audit/{day.name}",
    )


async def _store(day: Day, audit: Audit, scope: Context) -> None:
    """Store the outcome for the report. A repeated audit replaces it."""
    document: AuditDocument = {
        "id": day.name,
        "tenant_id": scope.tenant_id,
        "version": 1,
        "passed": not audit.difference_count,
        "transfers": audit.transfers,
        "entries": audit.entries,
        "postings_digest": audit.postings_digest,
        "events_digest": audit.events_digest,
        "difference_count": audit.difference_count,
        "differences": audit.differences,
        "audited_at": scope.now_text,
    }
    stored = await scope.get(AUDITS, day.name)
    if stored is None:
        scope.insert(AUDITS, document)
        return
    scope.update(
        AUDITS,
        stored,
        passed=document["passed"],
        transfers=document["transfers"],
        entries=document["entries"],
        postings_digest=document["postings_digest"],
        events_digest=document["events_digest"],
        difference_count=document["difference_count"],
        differences=document["differences"],
        audited_at=document["audited_at"],
    )
