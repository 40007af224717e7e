"""ledger.transfer_posted → statement.line_recorded."""

from __future__ import annotations

from events.ledger import PostedLeg, TransferPosted
from events.statements import LineRecorded
from functions.statements._lines import counterparty, line_id, place
from shared.context.context import Context
from shared.core.money import money
from shared.functions.decorators import event_function
from shared.records.statement_lines import LINES, LineDocument
from shared.records.system_accounts import is_system_account


@event_function(TransferPosted)
async def project_transfer(event: TransferPosted, ctx: Context) -> None:
    """Store a statement line for each leg on a payment account. Events may arrive in any order."""
    for leg in event.legs:
        if is_system_account(leg.account_id):
            continue
        line = _line(event, leg, ctx)
        # A line that exists was rebuilt from the ledger before its fact arrived. The commit finds out; only then is the
        # line read.
        if not ctx.attempt or await ctx.get(LINES, line["id"]) is None:
            ctx.insert(LINES, line)
        ctx.emit(
            LineRecorded(
                account_id=leg.account_id,
                line_id=line["line_id"],
                direction=leg.direction,
                amount=money(leg.amount, leg.currency),
                balance_after=money(leg.balance_after, leg.currency),
                payment_id=event.payment_id,
            )
        )


def _line(event: TransferPosted, leg: PostedLeg, ctx: Context) -> LineDocument:
    # The entry's own time is used: the transfer's time may be later than that of the account's next entry.
    recorded_at = leg.recorded_at or event.recorded_at
    return {
        "id": place(leg.account_id, recorded_at, leg.sequence),
        "tenant_id": ctx.tenant_id,
        "version": 1,
        "line_id": line_id(ctx.tenant_id, event.transfer_id, leg.leg),
        "account_id": leg.account_id,
        "sequence": leg.sequence,
        "recorded_at": recorded_at,
        "direction": leg.direction,
        "amount": leg.amount,
        "balance_after": leg.balance_after,
        "currency": leg.currency,
        "transfer_id": event.transfer_id,
        "payment_id": event.payment_id,
        "counterparty_account_id": counterparty(event.legs, leg.direction),
        "description": event.description,
    }
