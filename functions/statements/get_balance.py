"""GET /v1/accounts/{account_id}/balance."""

from __future__ import annotations

from pydantic import Field

from functions.statements._lines import last_up_to
from shared.context.context import Context
from shared.context.persons import required_account
from shared.functions.decorators import http_function
from shared.http.models import Instant, NoQuery, Resource, Time
from shared.records.accounts import available
from shared.records.statement_lines import LINES


class BalanceQuery(NoQuery):
    """The point in time of the balance."""

    at: Instant | None = Field(
        default=None, description="The balance at this time, inclusive (RFC 3339). Without it, the balance now."
    )


class Balance(Resource):
    """The balance of an account. Amounts are in minor units of its currency."""

    account_id: str = Field(description="The id of the account.")
    currency: str = Field(description="The account's currency, an ISO 4217 code.")
    posted: int = Field(description="All credits less all debits, in minor units. Negative inside an overdraft.")
    held: int | None = Field(
        description="What is held for payments and refunds that are not settled yet, in minor units; null with `at`."
    )
    available: int | None = Field(
        description="What can be spent, in minor units: `posted` plus the overdraft limit, less `held`; null with `at`."
    )
    as_of: Time = Field(description="The time of the balance.")


@http_function("GET /v1/accounts/{account_id}/balance", scope="statements:read")
async def get_balance(account_id: str, query: BalanceQuery, ctx: Context) -> Balance:
    """Retrieve the balance of an account.

    With `at`, the balance at that time; it is 0 before the account was opened.
    """
    account = await required_account(ctx, account_id)
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
