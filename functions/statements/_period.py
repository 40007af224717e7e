"""The period of a statement: its first and last line, its balances, and its lines page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final, NamedTuple

from functions.statements._lines import in_period
from shared.context.context import Context
from shared.core.problems import Problem
from shared.records.accounts import AccountDocument
from shared.records.statement_lines import LINES, LineDocument

_PAGE: Final = 250
# "!" sorts behind the end of a line's id and before the id of every later line.
_BEHIND: Final = "!"


class Period(NamedTuple):
    """The lines of an account in a period, as they are now. Balances are in minor units of the account's currency.

    `opening` is the balance before the first line and `closing` the balance after the last one; without lines, both are
    the balance at the start of the period. A line that is recorded later does not belong to it.
    """

    account: AccountDocument
    since: str | None
    until: str | None
    first: LineDocument | None
    last: LineDocument | None
    opening: int
    closing: int

    @property
    def lines(self) -> int:
        """The number of lines. An account's lines are numbered without gaps."""
        return 0 if self.first is None or self.last is None else self.last["sequence"] - self.first["sequence"] + 1

    @property
    def begins_at(self) -> str:
        """The start of the period: the time that was asked for, or that of the account's opening."""
        return self.since or self.account["created_at"]

    @property
    def ends_at(self) -> str:
        """The end of the period: the time that was asked for, or that of its last line.

        It does not depend on the time of the request, so that the same lines make the same file.
        """
        return self.until or (self.begins_at if self.last is None else self.last["recorded_at"])


class Totals(NamedTuple):
    """The sums of debits and credits, in minor units."""

    debits: int = 0
    credits: int = 0

    def plus(self, lines: Sequence[LineDocument]) -> Totals:
        """Return these totals with those of further lines."""
        debits = sum(line["amount"] for line in lines if line["direction"] == "debit")
        credits = sum(line["amount"] for line in lines if line["direction"] == "credit")
        return Totals(self.debits + debits, self.credits + credits)


async def period_of(ctx: Context, account: AccountDocument, since: str | None, until: str | None) -> Period:
    """Return an account's lines from `since` (inclusive) to `until` (exclusive), and the balances of both ends."""
    query = in_period(account["id"], since, until)._replace(limit=1)
    oldest, newest = await asyncio.gather(ctx.find(LINES, query), ctx.find(LINES, query._replace(newest_first=True)))
    if oldest and newest:
        return period_between(account, since, until, oldest[0], newest[0])
    balance = 0
    if since is not None:
        before = await ctx.find(LINES, in_period(account["id"], None, since)._replace(limit=1, newest_first=True))
        balance = before[0]["balance_after"] if before else 0
    return Period(account, since, until, None, None, balance, balance)


def period_between(
    account: AccountDocument, since: str | None, until: str | None, first: LineDocument, last: LineDocument
) -> Period:
    """Return the period whose first and last lines are known."""
    moved = first["amount"] if first["direction"] == "credit" else -first["amount"]
    return Period(account, since, until, first, last, first["balance_after"] - moved, last["balance_after"])


async def pages_of(ctx: Context, period: Period) -> AsyncGenerator[Sequence[LineDocument], None]:
    """Yield the lines of a period in their order, in pages.

    Raises Problem `dependency_unavailable` when a line is missing, because the event of its transfer is not applied
    yet: a statement is whole or is not given. Raises Unavailable.
    """
    if period.first is None or period.last is None:
        return
    query = in_period(period.account["id"], period.since, None)
    [(start, _)] = query.ranges.values()
    query = query._replace(ranges={"id": (start, period.last["id"] + _BEHIND)}, limit=_PAGE)
    expected = period.first["sequence"]
    while expected <= period.last["sequence"]:
        page = await ctx.find(LINES, query)
        for line in page:
            if line["sequence"] != expected:
                break
            expected += 1
        else:
            if page:
                yield page
                query = query._replace(after=page[-1]["id"])
                continue
        raise Problem(
            "dependency_unavailable",
            f"The statement has no line of the account's entry {expected} yet. Try again, or choose a period that has "
            "ended.",
        )


async def totals_of(ctx: Context, period: Period) -> Totals:
    """Return the totals of a period. Raises as `pages_of` does."""
    totals = Totals()
    async for page in pages_of(ctx, period):
        totals = totals.plus(page)
    return totals
