"""webhook.delivery_due → the attempt to deliver the event."""

from __future__ import annotations

from events.webhooks import WebhookDeliveryDue
from functions.webhooks._attempt import make_attempts
from shared.context.context import Context
from shared.context.due_work import Work
from shared.functions.decorators import event_function


@event_function(WebhookDeliveryDue)
async def send(event: WebhookDeliveryDue, ctx: Context) -> None:
    """Make the attempt that is due, and the retries that become due soon.

    One call in each process makes all attempts of the process. The others only add theirs and return, so that events
    of one endpoint that does not answer do not occupy the function.
    """
    ctx.webhooks.add(Work(event.delivery_id, ctx.tenant_id, event.endpoint_id))
    await make_attempts(ctx)
