"""GET /v1/accounts/{account_id}/statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from functions.statements._lines import in_period
from shared.context.context import Context
from shared.context.persons import required_account
from shared.core.money import Money, money
from shared.functions.decorators import http_function
from shared.http.models import Page, PeriodQuery, Resource, Time
from shared.http.pages import find_page
from shared.ports.documents import Query
from shared.records.statement_lines import LINES, LineDocument


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


@http_function("GET /v1/accounts/{account_id}/statement", scope="statements:read")
async def get_statement(account_id: str, query: PeriodQuery, ctx: Context) -> Page[StatementLine]:
    """List the movements of an account, oldest first.

    `from` and `to` are compared with `recorded_at`.
    """
    await required_account(ctx, account_id)
    filters = {"account_id": account_id, "from": query.since, "to": query.until}
    return await find_page(ctx, LINES, query, filters, _query, _line_resource)


def _query(filters: Mapping[str, str]) -> Query:
    return in_period(filters["account_id"], filters.get("from"), filters.get("to"))


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
