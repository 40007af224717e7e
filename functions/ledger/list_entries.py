"""GET /v1/ledger/accounts/{account_id}/entries."""

from __future__ import annotations

import re
from typing import Final

from functions.ledger._transfer import LedgerEntry, entry_resource
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.models import ListQuery, Page
from shared.http.pages import decode_cursor, make_page
from shared.records.accounts import ACCOUNTS
from shared.records.system_accounts import SYSTEM_ACCOUNTS

_SEQUENCE: Final = re.compile(r"[0-9]{1,18}")


@http_function("GET /v1/ledger/accounts/{account_id}/entries", scope="ledger:read")
async def list_entries(account_id: str, query: ListQuery, ctx: Context) -> Page[LedgerEntry]:
    """List the ledger entries of an account, oldest first.

    The account is a payment account or a system account of the tenant.
    """
    # The account is one of the filters, so that a cursor is valid only for the account that it was made for.
    filters, after = decode_cursor(ctx, query.cursor, {"account_id": account_id})
    found = await ctx.ledger.entries(ctx.tenant_id, account_id, _sequence(after), query.limit + 1)
    if not found and not await _exists(ctx, account_id):
        raise Problem("not_found", f"There is no {account_id}.")
    return make_page(ctx, found, query.limit, filters, lambda entry: str(entry.sequence), entry_resource)


def _sequence(after: str | None) -> int:
    if after is None:
        return 0
    # A cursor is opaque but not secret: the client may have changed it.
    if _SEQUENCE.fullmatch(after) is None:
        raise Problem.parameter(
            "malformed_request", "cursor", "The cursor is not valid. Send the `next_cursor` of the previous page."
        )
    return int(after)


async def _exists(ctx: Context, account_id: str) -> bool:
    return await ctx.get(ACCOUNTS, account_id) is not None or await ctx.get(SYSTEM_ACCOUNTS, account_id) is not None
