"""Requesting the transfer of a deposit from the ledger."""

from __future__ import annotations

from events.charges import ChargePaid
from functions.providers._deposit import deposit_parts
from shared.records.deposits import DepositDocument
from shared.records.system_accounts import clearing_account


def charge_paid_fact(deposit: DepositDocument, end_to_end_id: str) -> ChargePaid:
    """Return the fact that requests the transfer from the rail's clearing account to the deposit's account."""
    return ChargePaid(
        **deposit_parts(deposit),
        charge_id=deposit["txid"],
        end_to_end_id=end_to_end_id,
        transfer_id=deposit["transfer_id"],
        clearing_account_id=clearing_account(deposit["method"], deposit["currency"]),
    )
