"""GET /v1/accounts/{account_id}/balance."""

from __future__ import annotations

from pydantic import Field

from functions.statements._lines import last_up_to
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Instant, NoQuery, Resource
from shared.records.accounts import ACCOUNTS, available
from shared.records.statement_lines import LINES


class BalanceQuery(NoQuery):
    """When."""

    at: Instant | None = Field(default=None, description="A point in time, inclusive; now when left out")


class Balance(Resource):
    """What an account has, in minor units of its currency. `held` and `available` are known for now only."""

    account_id: str
    currency: str
    posted: int
    held: int | None
    available: int | None
    as_of: str


@http_function("GET /v1/accounts/{account_id}/balance", scope="statements:read")
async def get_balance(account_id: str, query: BalanceQuery, ctx: Context) -> Balance:
    """An account's balance, now or as it was at a time; 0 before the account was opened."""
    account = await ctx.required(ACCOUNTS, account_id)
    currency = account["currency"]
    if query.at is None:
        return Balance(
            account_id=account_id,
            currency=currency,
            posted=account["posted"],
            held=account["held"],
            available=available(account),
            as_of=ctx.now_text,
        )
    last = await ctx.find(LINES, last_up_to(account_id, query.at))
    posted = last[0]["balance_after"] if last else 0
    return Balance(account_id=account_id, currency=currency, posted=posted, held=None, available=None, as_of=query.at)
