"""POST /v1/providers/{provider}/callbacks: a provider reports payments that it has received."""

from __future__ import annotations

from functions.providers._callbacks import CallbackTaken, take_callback
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.operation import Access


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
    return await take_callback(provider, request, ctx)
