"""GET /v1/ledger/trial-balance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from pydantic import Field

from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Resource, Time
from shared.ports.ledger import AccountTurnover


class AccountTurnoverLine(Resource):
    """The turnover of one ledger account."""

    account_id: str = Field(description="The ledger account: a payment account, or a system account of the tenant.")
    debits: int = Field(description="The sum of the account's debits, in minor units.")
    credits: int = Field(description="The sum of the account's credits, in minor units.")


class CurrencyTurnover(Resource):
    """The turnover of all ledger accounts in one currency. Debits and credits are equal."""

    currency: str = Field(description="The currency, an ISO 4217 code.")
    debits: int = Field(description="The sum of all debits in this currency, in minor units.")
    credits: int = Field(description="The sum of all credits in this currency, in minor units.")
    accounts: list[AccountTurnoverLine] = Field(description="The turnover of each account in this currency.")


class TrialBalance(Resource):
    """The turnover of every ledger account of the tenant since its first entry, by currency."""

    data: list[CurrencyTurnover] = Field(description="One item for each currency.")
    as_of: Time = Field(description="The time of the trial balance.")


@http_function("GET /v1/ledger/trial-balance", scope="ledger:read")
async def trial_balance(ctx: Context) -> TrialBalance:
    """Retrieve the trial balance.

    It has the sum of debits and credits of every ledger account since its first entry. In each currency, the debits
    and the credits are equal.
    """
    turnover = await ctx.ledger.turnover(ctx.tenant_id)
    by_currency = groupby(sorted(turnover, key=_order), key=lambda account: account.currency)
    data = [_currency(currency, list(accounts)) for currency, accounts in by_currency]
    for row in data:
        if row.debits != row.credits:
            ctx.log.error("the ledger is out of balance in %s", row.currency)
    return TrialBalance(data=data, as_of=ctx.now_text)


def _order(account: AccountTurnover) -> tuple[str, str]:
    return account.currency, account.account_id


def _currency(currency: str, accounts: Sequence[AccountTurnover]) -> CurrencyTurnover:
    return CurrencyTurnover(
        currency=currency,
        debits=sum(account.debits for account in accounts),
        credits=sum(account.credits for account in accounts),
        accounts=[
            AccountTurnoverLine(account_id=account.account_id, debits=account.debits, credits=account.credits)
            for account in accounts
        ],
    )
