"""user.erasure_requested → the personal data of a debtor is erased in PIX charges."""

from __future__ import annotations

from functools import partial
from typing import Any

from events.users import UserErasureRequested
from functions.providers._pix_charge import provider_id
from shared.context.context import Context
from shared.context.tenant_work import in_pages
from shared.functions.decorators import event_function
from shared.http import idempotent_answers
from shared.ports.documents import Query
from shared.records.idempotency import IDEMPOTENCY
from shared.records.pix_charges import PIX_CHARGES


@event_function(UserErasureRequested)
async def forget_debtor(event: UserErasureRequested, ctx: Context) -> None:
    """Erase name and taxpayer number of the debtor in these charges, and in the stored responses about them.

    The charges stay, with their amounts and terms, and can still be paid. A repeated fact has no further effect.
    """
    forget = partial(idempotent_answers.change_bodies, _forget)
    for txid in event.charge_ids:
        charge = await ctx.get(PIX_CHARGES, provider_id(ctx, txid))
        if charge is None or charge.get("debtor") is None:
            continue
        ctx.update(PIX_CHARGES, charge, debtor=None, debtor_index=None, updated_at=ctx.now_text)
        # Before the charge: when this is interrupted, the charge still has its debtor, and the event is repeated.
        responses = Query(where={"subject": txid})
        await in_pages(ctx, ctx.tenant_id, f"responses/{txid}", IDEMPOTENCY, responses, forget)


def _forget(shown: dict[str, Any]) -> None:
    """Erase the debtor in a stored response. What else it says of the charge stays as it was answered."""
    shown["due"]["debtor"] = None
