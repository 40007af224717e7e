"""GET /v1/accounts."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from functions.accounts._account import Account, account_resource
from shared.context.context import Context
from shared.context.persons import person_of
from shared.functions.decorators import http_function
from shared.http.models import Identifier, ListQuery, Page
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, AccountDocument


class ListAccounts(ListQuery):
    """The page of accounts to return, of all users or of one."""

    owner_id: Identifier | None = Field(default=None, description="Return only the accounts of this user.")


@http_function("GET /v1/accounts", scope="accounts:read")
async def list_accounts(query: ListAccounts, ctx: Context) -> Page[Account]:
    """List accounts, newest first. A person's token lists the accounts of the person."""
    person = person_of(ctx)
    if person is not None and query.owner_id not in (None, person):
        return Page(data=[])

    def conditions(filters: Mapping[str, str]) -> Query:
        return Query(where=filters if person is None else {"owner_id": person}, newest_first=True)

    def resource(account: AccountDocument) -> Account:
        return account_resource(account, ctx.now_text)

    return await find_page(ctx, ACCOUNTS, query, {"owner_id": query.owner_id}, conditions, resource)
