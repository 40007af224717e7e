"""The settlement report of the card gateway, as one side of a reconciliation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from functions.providers._pairing import Movement
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.core.problems import Problem
from shared.ports.card_gateway import SettlementLine
from shared.ports.documents import Unavailable
from shared.ports.rail import RailRefused
from shared.records.payments import PAYMENTS

_MAX_PAGES: Final = 500
"""The report has the lines of all tenants, so one of a period may be long."""


async def settled_movements(ctx: Context, since: str, until: str) -> AsyncIterator[Movement]:
    """Yield the captures and refunds of the tenant's payments that the gateway has settled in a period.

    The reference of a capture is the id of the payment, that of a refund the id of the refund. Without a gateway there
    are none. Raises Problem `dependency_unavailable` when the gateway does not answer, and `validation_failed` when its
    report is too long.
    """
    async for line in _lines(ctx, since, until):
        # The document of another tenant's payment is not found here.
        if await ctx.get(PAYMENTS, line.payment_reference) is not None:
            yield Movement(line.id, line.amount, line.settled_at, line.reference)


async def _lines(ctx: Context, since: str, until: str) -> AsyncIterator[SettlementLine]:
    if not ctx.card_gateway.is_configured:
        return
    begin, end = parse_time(since), parse_time(until)
    for page in range(_MAX_PAGES):
        try:
            found = await ctx.card_gateway.settlements(begin, end, page)
        except (RailRefused, Unavailable) as error:
            ctx.log.warning("the settlement report of the card gateway cannot be read: %s", error)
            detail = "The card gateway does not give its settlement report now. Send the request again later."
            raise Problem("dependency_unavailable", detail) from None
        for line in found.lines:
            yield line
        if not found.has_more:
            return
    detail = "The settlement report of the period is too long. Choose a shorter period."
    raise Problem.at("validation_failed", "/to", detail)
