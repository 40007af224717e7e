"""A schedule's tick: remove old dead letters, and the contents of old stored responses."""

from __future__ import annotations

from events.sweeps import Tick
from shared.context.context import Context
from shared.context.retention import empty_older, remove_older
from shared.functions.decorators import event_function
from shared.http import idempotent_answers
from shared.records.dead_letters import DEAD_LETTERS
from shared.records.idempotency import IDEMPOTENCY


@event_function(Tick, platform=True)
async def remove_dead_letters(_tick: Tick, ctx: Context) -> None:
    """Remove dead letters that were replayed or discarded LASTRO_RETENTION_DEAD_LETTERS_DAYS ago, and the contents of
    responses that were stored under an idempotency key LASTRO_IDEMPOTENCY_DAYS ago.

    A dead letter that waits for a decision is never removed. An idempotency key is known for ever. The function has
    kept the name of its first task, because it is the name of its Service and of its schedule.
    """
    days = ctx.settings.retention_dead_letters_days
    await remove_older(ctx, DEAD_LETTERS, "updated_at", days, statuses=("replayed", "discarded"))
    await empty_older(ctx, IDEMPOTENCY, "created_at", ctx.settings.idempotency_days, idempotent_answers.remove_contents)
