"""GET /v1/accounts/{account_id}/statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module
from typing import Final, Literal

from pydantic import Field

from functions.statements._lines import in_period
from functions.statements._period import Period, Totals, period_between, period_of, totals_of
from shared.context.context import Context
from shared.context.persons import required_account
from shared.core.money import Money, money
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.files import File, preferred
from shared.http.messages import HttpRequest
from shared.http.models import PeriodQuery, Resource, Time
from shared.http.pages import decode_cursor, make_page
from shared.records.accounts import AccountDocument
from shared.records.statement_lines import LINES, LineDocument

_JSON: Final = "application/json"
_CSV: Final = "text/csv"
_OFX: Final = "application/x-ofx"
_PDF: Final = "application/pdf"
_FILES: Final = (_CSV, _OFX, _PDF)


class StatementLine(Resource):
    """One movement of an account, and its balance after it."""

    id: str = Field(description="The line's id, `lin_…`.")
    account_id: str = Field(description="The id of the account.")
    recorded_at: Time = Field(description="When the ledger recorded the movement.")
    direction: Literal["debit", "credit"] = Field(description="`debit`: money left the account. `credit`: it came in.")
    amount: Money = Field(description="The amount of the movement, always positive.")
    balance_after: Money = Field(description="The account's posted balance after the movement.")
    transfer_id: str = Field(description="The id of the transfer in the ledger.")
    payment_id: str | None = Field(description="The id of the payment; null when the movement is not of a payment.")
    counterparty_account_id: str | None = Field(
        description="The account on the other side; null when there are several."
    )
    description: str | None = Field(description="The payment's description, or null.")


class StatementTotals(Resource):
    """The totals of a period, in minor units of the account's currency."""

    lines: int = Field(description="The number of movements.")
    debits: int = Field(description="The sum of all debits, in minor units.")
    credits: int = Field(description="The sum of all credits, in minor units.")


class Statement(Resource):
    """One page of the movements of an account in a period, with the balances and totals of the whole period."""

    account_id: str = Field(description="The id of the account.")
    opening_balance: Money = Field(description="The posted balance at the start of the period.")
    closing_balance: Money = Field(description="The posted balance at the end of the period.")
    totals: StatementTotals | None = Field(
        description="The totals of the whole period, on its first page. Null on later pages, when the period has more "
        "than 10,000 movements (LASTRO_STATEMENT_TOTAL_LINES), and while a movement of it is not in the statement yet."
    )
    data: list[StatementLine] = Field(description="The items of this page.")
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` to get the next page; null on the last page."
    )


@http_function("GET /v1/accounts/{account_id}/statement", scope="statements:read", files=_FILES)
async def get_statement(account_id: str, query: PeriodQuery, request: HttpRequest, ctx: Context) -> Statement | File:
    """Retrieve the movements of an account, oldest first.

    `from` and `to` are compared with `recorded_at`. Accept selects the format: JSON in pages, or a file with the whole
    period: `text/csv` (RFC 4180), `application/x-ofx` (OFX 2) or `application/pdf` (in Portuguese, at most 10,000
    movements). The same movements make the same file.
    """
    media_type = preferred(request.header("accept"), (_JSON, *_FILES))
    account = await required_account(ctx, account_id)
    if media_type == _JSON:
        return await _page(ctx, account, query)
    for name in ("cursor", "limit"):
        if name in query.model_fields_set:
            detail = f"A file holds the whole period. Leave out {name}, or accept application/json."
            raise Problem.parameter("malformed_request", name, detail)
    return await _file(ctx, media_type, await period_of(ctx, account, query.since, query.until))


async def _file(ctx: Context, media_type: str, period: Period) -> File:
    # Each format is imported when it is used: a request for JSON needs none of them.
    name = f"statement-{period.account['id']}"
    if media_type == _CSV:
        from functions.statements._csv import csv_of

        return File("text/csv; charset=utf-8", f"{name}.csv", csv_of(ctx, period))
    if media_type == _OFX:
        from functions.statements._ofx import ofx_of

        return File(_OFX, f"{name}.ofx", ofx_of(ctx, period))
    await asyncio.to_thread(import_module, "functions.statements._pdf")  # reportlab takes some time to import
    from functions.statements._pdf import pdf_of

    return File(_PDF, f"{name}.pdf", await pdf_of(ctx, period))


async def _page(ctx: Context, account: AccountDocument, query: PeriodQuery) -> Statement:
    given = {"account_id": account["id"], "from": query.since, "to": query.until}
    filters, after = decode_cursor(ctx, query.cursor, given)
    since, until = filters.get("from"), filters.get("to")
    selected = in_period(account["id"], since, until)._replace(after=after, limit=query.limit + 1)
    found = await ctx.find(LINES, selected)
    is_whole = after is None and 0 < len(found) <= query.limit
    if is_whole:
        period = period_between(account, since, until, found[0], found[-1])
    else:
        period = await period_of(ctx, account, since, until)
    totals = await _totals(ctx, period, found, is_first=after is None)
    page = make_page(ctx, found, query.limit, filters, lambda line: str(line["id"]), _line_resource)
    currency = account["currency"]
    return Statement(
        account_id=account["id"],
        opening_balance=money(period.opening, currency),
        closing_balance=money(period.closing, currency),
        totals=totals,
        data=page.data,
        next_cursor=page.next_cursor,
    )


async def _totals(
    ctx: Context, period: Period, found: Sequence[LineDocument], *, is_first: bool
) -> StatementTotals | None:
    lines = period.lines
    if not is_first or lines > ctx.statement_total_lines:
        return None
    if len(found) == lines:
        totals = Totals().plus(found)
    else:
        try:
            totals = await totals_of(ctx, period)
        except Problem:
            return None  # a line is missing: its event is not applied yet
    return StatementTotals(lines=lines, debits=totals.debits, credits=totals.credits)


def _line_resource(line: LineDocument) -> StatementLine:
    currency = line["currency"]
    return StatementLine(
        id=line["line_id"],
        account_id=line["account_id"],
        recorded_at=line["recorded_at"],
        direction=line["direction"],
        amount=money(line["amount"], currency),
        balance_after=money(line["balance_after"], currency),
        transfer_id=line["transfer_id"],
        payment_id=line["payment_id"],
        counterparty_account_id=line["counterparty_account_id"],
        description=line["description"],
    )
