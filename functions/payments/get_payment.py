"""GET /v1/payments/{payment_id}."""

from __future__ import annotations

from functions.payments._access import visible_payment
from functions.payments._payment_resource import Payment, payment_resource
from shared.context.context import Context
from shared.functions.decorators import http_function


@http_function("GET /v1/payments/{payment_id}", scope="payments:read")
async def get_payment(payment_id: str, ctx: Context) -> Payment:
    """Retrieve a payment."""
    return payment_resource(await visible_payment(ctx, payment_id))
