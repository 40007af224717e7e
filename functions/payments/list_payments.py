"""GET /v1/payments."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from functions.payments._payment_resource import Payment, payment_resource
from functions.payments._persons_list import find_payments_of_person
from shared.context.context import Context
from shared.context.persons import person_of
from shared.functions.decorators import http_function
from shared.http.models import Identifier, Page, PeriodQuery, Reference
from shared.http.pages import decode_cursor, find_page, make_page
from shared.ports.documents import Query
from shared.records.payments import PAYMENTS, PaymentStatus


class PaymentsQuery(PeriodQuery):
    """Which payments to list. A payment must meet every condition; `from` and `to` are about `created_at`."""

    status: PaymentStatus | None = Field(default=None, description="Return only payments in this status.")
    account: Identifier | None = Field(default=None, description="Return only payments from or to this account.")
    reference: Reference | None = Field(default=None, description="Return only payments with this reference.")


@http_function("GET /v1/payments", scope="payments:read")
async def list_payments(query: PaymentsQuery, ctx: Context) -> Page[Payment]:
    """List payments, newest first.

    A payment must meet every condition. `from` and `to` are compared with `created_at`. A person's token lists the
    payments with an account of the person on either side.
    """
    filters = {
        "status": query.status,
        "account": query.account,
        "reference": query.reference,
        "from": query.since,
        "to": query.until,
    }
    person = person_of(ctx)
    if person is None:
        return await find_page(ctx, PAYMENTS, query, filters, _conditions, payment_resource)
    in_force, after = decode_cursor(ctx, query.cursor, filters)
    conditions = _conditions(in_force)._replace(after=after, limit=query.limit + 1)
    found = await find_payments_of_person(ctx, person, conditions, in_force.get("account"))
    return make_page(ctx, found, query.limit, in_force, lambda payment: str(payment["id"]), payment_resource)


def _conditions(filters: Mapping[str, str]) -> Query:
    account = filters.get("account")
    sides = () if account is None else ({"payer_account_id": account}, {"payee_account_id": account})
    period = (filters.get("from"), filters.get("to"))
    return Query(
        where={name: filters[name] for name in ("status", "reference") if name in filters},
        any_of=sides,
        ranges={} if period == (None, None) else {"created_at": period},
        newest_first=True,
    )
