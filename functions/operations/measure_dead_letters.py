"""A schedule's tick: measure how long the oldest dead letter has waited for a decision."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work, tenant_ids
from shared.core.clock import parse_time
from shared.functions.decorators import event_function
from shared.ports.documents import PLATFORM, Query
from shared.records.dead_letters import DEAD_LETTERS


@event_function(Tick, platform=True)
async def measure_dead_letters(_tick: Tick, ctx: Context) -> None:
    """Set the metric `lastro_dead_letter_oldest_seconds`: the age of the oldest parked dead letter of all tenants
    (label `tenants`) and of the platform (`platform`), in seconds; 0 without one."""
    ctx.measure("dead_letter_oldest_seconds", "platform", await _of(ctx, PLATFORM))
    oldest = 0.0
    async for tenant_id in tenant_ids(ctx):
        oldest = max(oldest, await _of(ctx, tenant_id))
    ctx.measure("dead_letter_oldest_seconds", "tenants", oldest)


async def _of(ctx: Context, tenant_id: str) -> float:
    return await run_in_tenant_unit_of_work(ctx, tenant_id, f"oldest/{ctx.origin.cause_id}", _oldest_seconds)


async def _oldest_seconds(scope: Context) -> float:
    found = await scope.find(DEAD_LETTERS, Query({"status": "parked"}, order_by="parked_at", limit=1))
    return max(0.0, (scope.now - parse_time(found[0]["parked_at"])).total_seconds()) if found else 0.0
