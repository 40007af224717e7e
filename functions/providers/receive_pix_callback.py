"""POST /v1/providers/pix/callbacks/pix: the callback of a PIX provider, at the path that the API Pix prescribes."""

from __future__ import annotations

from functions.providers._callbacks import CallbackTaken, take_callback
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.operation import Access


@http_function(
    "POST /v1/providers/pix/callbacks/pix",
    access=Access.PROVIDER,
    problems=("missing_signature", "invalid_signature", "timestamp_out_of_window"),
)
async def receive_pix_callback(request: HttpRequest, ctx: Context) -> CallbackTaken:
    """Receive a callback of the PIX provider.

    A provider adds `/pix` to the URL of its webhook (Banco Central, API Pix). What happens is the same as at
    `/v1/providers/pix/callbacks`.
    """
    return await take_callback("pix", request, ctx)
