"""POST /v1/providers/{provider}/callbacks: a provider reports payments that it has received."""

from __future__ import annotations

from pydantic import Field

from functions.providers._matching import process_receipt
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.models import Resource
from shared.http.operation import Access
from shared.ports.rail import Rail, Receipt, callback_secret_name


class CallbackTaken(Resource):
    """The response to a provider's callback."""

    received: int = Field(description="How many reports of payments were accepted, repeated ones included.")


@http_function(
    "POST /v1/providers/{provider}/callbacks",
    access=Access.PROVIDER,
    problems=("missing_signature", "invalid_signature", "timestamp_out_of_window"),
)
async def receive_callback(provider: str, request: HttpRequest, ctx: Context) -> CallbackTaken:
    """Receive a callback of a payment provider.

    The callback is authenticated by the provider's signature, and each payment in it is processed once, by the
    provider's id of it. A payment of a known charge goes on to the ledger; if it does not fit, to the suspense
    account. A payment of an unknown charge is stored for an operator and is answered with 200 too: the provider cannot
    correct it.
    """
    rail = ctx.rails.get(provider)
    if rail is None:
        raise Problem("not_found", "There is no such provider.")
    receipts = await _read(provider, rail, request, ctx)
    for receipt in receipts:
        await process_receipt(ctx, provider, receipt)
    return CallbackTaken(received=len(receipts))


async def _read(provider: str, rail: Rail, request: HttpRequest, ctx: Context) -> list[Receipt]:
    name = callback_secret_name(provider)
    secret = await ctx.secrets.named(name)
    if secret is None:
        # The platform's configuration is at fault, so the status is 5xx: the provider sends the callback again later.
        ctx.log.error("the secret %s is missing: callbacks of %s cannot be authenticated", name, provider)
        raise Problem("dependency_unavailable", "Callbacks of this provider cannot be authenticated now; try again.")
    window = ctx.signature_window_seconds
    return list(rail.read_callback(request.headers, request.body, secret=secret, now=ctx.now, window_seconds=window))
