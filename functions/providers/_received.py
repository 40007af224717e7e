"""Requesting the transfer of a received payment from the ledger."""

from __future__ import annotations

from events.charges import ChargePaid, PaymentUnmatched
from functions.providers._deposit import deposit_parts
from shared.context.context import Context
from shared.records.charges import RECEIPTS, ReceiptMismatch, receipt_id
from shared.records.deposits import DepositDocument
from shared.records.system_accounts import clearing_account


def received_fact(deposit: DepositDocument, mismatch: ReceiptMismatch | None) -> ChargePaid | PaymentUnmatched:
    """Return the fact that requests the transfer from the rail's clearing account to the deposit's account.

    The deposit has been paid. With a mismatch, its account is the suspense account.
    """
    assert deposit["end_to_end_id"] is not None, "a deposit is received when its payment is reported"
    fields = {
        **deposit_parts(deposit),
        "charge_id": deposit["txid"],
        "end_to_end_id": deposit["end_to_end_id"],
        "transfer_id": deposit["transfer_id"],
        "clearing_account_id": clearing_account(deposit["method"], deposit["currency"]),
    }
    return ChargePaid(**fields) if mismatch is None else PaymentUnmatched(**fields, reason=mismatch)


async def received_again(ctx: Context, deposit: DepositDocument) -> ChargePaid | PaymentUnmatched:
    """Return the fact of a paid deposit again, as the report of its payment decided."""
    receipt = await ctx.get(RECEIPTS, receipt_id(deposit["method"], deposit["end_to_end_id"] or ""))
    return received_fact(deposit, None if receipt is None else receipt["reason"])
