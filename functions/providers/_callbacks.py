"""Taking a callback: it is authenticated, and each payment that it reports is processed once."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.messages import HttpRequest
from shared.http.models import Resource
from shared.ports.rail import callback_secret_name

_CARD: Final = "card"


class CallbackTaken(Resource):
    """The response to a provider's callback."""

    received: int = Field(description="How many reports of payments were accepted, repeated ones included.")


async def take_callback(provider: str, request: HttpRequest, ctx: Context) -> CallbackTaken:
    """Authenticate a callback and process the payments that it reports.

    Raises Problem `not_found` for an unknown provider, the problems of the rails' reading of callbacks, and
    `dependency_unavailable` when the provider should send it again.
    """
    rail, payment_rail = ctx.rails.get(provider), ctx.payment_rails.get(provider)
    if rail is None and payment_rail is None:
        raise Problem("not_found", "There is no such provider.")
    secret, window = await callback_secret(provider, ctx), ctx.signature_window_seconds
    about = (request.headers, request.body)
    # Each kind of report is imported when one comes: a cold start needs one of them.
    if provider == _CARD:
        from functions.providers._card_callbacks import process_card_event

        event = ctx.card_gateway.read_callback(*about, secret=secret, now=ctx.now, window_seconds=window)
        await process_card_event(ctx, event)
        return CallbackTaken(received=1)
    if payment_rail is not None:
        reports = payment_rail.read_reports(*about, secret=secret, now=ctx.now, window_seconds=window)
        if reports is not None:
            from functions.providers._reports import process_report

            for report in reports:
                await process_report(ctx, provider, report)
            return CallbackTaken(received=len(reports))
    if rail is None:
        raise Problem("validation_failed", "The callback reports no payment.")
    from functions.providers._received_reports import process_received

    receipts = rail.read_callback(*about, secret=secret, now=ctx.now, window_seconds=window)
    for receipt in receipts:
        await process_received(ctx, provider, receipt)
    return CallbackTaken(received=len(receipts))


async def callback_secret(provider: str, ctx: Context) -> bytes:
    """Return the secret that a provider signs its callbacks with. Raises Problem `dependency_unavailable`."""
    name = callback_secret_name(provider)
    secret = await ctx.secrets.named(name)
    if secret is None:
        # The platform's configuration is at fault, so the status is 5xx: the provider sends the callback again later.
        ctx.log.error("the secret %s is missing: callbacks of %s cannot be authenticated", name, provider)
        raise Problem("dependency_unavailable", "Callbacks of this provider cannot be authenticated now; try again.")
    return secret
