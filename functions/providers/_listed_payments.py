"""Reading what providers list of the payments that they were ordered to make, whether it was reported or not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from functions.providers._reports import process_report
from shared.context.context import Context
from shared.ports.rail_payments import ListingRail

WINDOW: Final = timedelta(days=1)
"""How much of the past a tick reads of a list by the time of the payments."""
MAX_PAGES: Final = 1000


async def read_changes(ctx: Context, name: str, rail: ListingRail, since: datetime, until: datetime) -> None:
    """Process what the provider lists of a period. Each report has its effect once, however often it is read.

    Raises Unavailable when the provider does not answer.
    """
    for number in range(MAX_PAGES):
        reports, has_more = await rail.changed(since, until, number)
        for report in reports:
            await process_report(ctx, name, report)
        if not has_more:
            return
    ctx.log.error("%s lists more than %d pages of payments from %s to %s", name, MAX_PAGES, since, until)


def next_round(rail: ListingRail, since: datetime | None, last: datetime) -> tuple[datetime, datetime]:
    """Return the period that this tick reads of a list by the time of the payments.

    `since` is the end of the period before, or None at first. After the one that ended at the present, a new round
    begins a day before the oldest payment that may still come back.
    """
    # A change at the last moment is read by the next round, which begins up to a round later, or after an outage.
    oldest = last - rail.changes_for - WINDOW
    if since is None or since < oldest or since >= last - WINDOW / 2:
        since = oldest
    until = since + WINDOW
    # The last period of a round is longer, so that none is shorter than half a window.
    return since, last if until >= last - WINDOW / 2 else until
