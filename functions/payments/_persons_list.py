"""The list of payments of a person: those with an account of the person on either side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from shared.context.context import Context
from shared.ports.documents import Fields, Query
from shared.records.accounts import ACCOUNTS
from shared.records.payments import PAYMENTS, PaymentDocument

_ACCOUNTS_IN_A_PAGE: Final = 100
_ACCOUNTS_IN_A_QUERY: Final = 50
"""A store limits the alternatives of one query. The results of several queries are merged."""


async def find_payments_of_person(
    ctx: Context, person: str, query: Query, account_id: str | None
) -> Sequence[PaymentDocument]:
    """Return the first `query.limit` payments of a person, newest first; with `account_id`, those from or to that
    account.

    `query` has the other conditions.
    """
    own = await _own_accounts(ctx, person)
    found: dict[str, PaymentDocument] = {}
    for sides in _alternatives(own, account_id):
        for payment in await ctx.find(PAYMENTS, query._replace(any_of=sides)):
            found[payment["id"]] = payment
    newest = sorted(found.values(), key=lambda payment: payment["id"], reverse=True)
    return newest[: query.limit]


async def _own_accounts(ctx: Context, person: str) -> list[str]:
    own: list[str] = []
    query = Query(where={"owner_id": person}, limit=_ACCOUNTS_IN_A_PAGE)
    while True:
        page = await ctx.find(ACCOUNTS, query)
        own += [account["id"] for account in page]
        if len(page) < _ACCOUNTS_IN_A_PAGE:
            return own
        query = query._replace(after=own[-1])


def _alternatives(own: Sequence[str], account_id: str | None) -> Iterator[tuple[Fields, ...]]:
    """Return, for each query, the alternatives of which a payment must meet one."""
    if account_id is not None and account_id in own:
        yield _sides(account_id)
        return
    rest = iter(own)
    while some := list(islice(rest, _ACCOUNTS_IN_A_QUERY)):
        if account_id is None:
            yield tuple(side for id in some for side in _sides(id))
        else:
            yield tuple(pair for id in some for pair in _between(id, account_id))


def _sides(account_id: str) -> tuple[Fields, ...]:
    return {"payer_account_id": account_id}, {"payee_account_id": account_id}


def _between(one: str, other: str) -> tuple[Fields, ...]:
    return (
        {"payer_account_id": one, "payee_account_id": other},
        {"payer_account_id": other, "payee_account_id": one},
    )
