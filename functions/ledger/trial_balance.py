"""GET /v1/ledger/trial-balance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.models import Resource
from shared.ports.ledger import AccountTurnover


class AccountTurnoverLine(Resource):
    """What went through one ledger account, in minor units."""

    account_id: str
    debits: int
    credits: int


class CurrencyTurnover(Resource):
    """What went through the ledger in one currency, in minor units; debits equal credits."""

    currency: str
    debits: int
    credits: int
    accounts: list[AccountTurnoverLine]


class TrialBalance(Resource):
    """Turnover of every ledger account, by currency."""

    data: list[CurrencyTurnover]
    as_of: str


@http_function("GET /v1/ledger/trial-balance", scope="ledger:read")
async def trial_balance(ctx: Context) -> TrialBalance:
    """Debits and credits of every ledger account since it was first used, which must come out equal."""
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
