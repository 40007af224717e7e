"""A schedule's tick: end the closings of users that a crash has interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from events.sweeps import Tick
from functions.users._closing import close_or_keep
from shared.context.context import Context
from shared.context.tenant_work import in_pages, tenant_ids
from shared.core.clock import format_time
from shared.functions.decorators import event_function
from shared.ports.documents import Query
from shared.records.users import USERS, UserDocument

_GRACE: Final = timedelta(minutes=1)
"""A younger closing is left to its request."""


@event_function(Tick, platform=True)
async def finish_user_closing(_tick: Tick, ctx: Context) -> None:
    """End each closing of a user that its request has not ended, tenant by tenant: the user is closed, or stays as
    before."""
    before = format_time(ctx.now - _GRACE)
    query = Query(ranges={"closing_since": ("", before)})
    async for tenant_id in tenant_ids(ctx):
        await in_pages(ctx, tenant_id, "closing", USERS, query, _finish_page)


async def _finish_page(found: Sequence[UserDocument], scope: Context) -> None:
    for user in found:
        await close_or_keep(scope, user)
