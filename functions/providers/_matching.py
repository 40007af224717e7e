"""The matching of payments that a provider reports with the deposits and PIX charges of tenants.

A report may arrive by a callback or be found at the provider later, any number of times and in any order. It is
processed once, by the provider's id of the payment. A payment that does not fit its charge goes to the tenant's
suspense account, so that the rail's clearing account shows what the provider has collected.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NamedTuple

from functions.providers._deposit import blocked_failure, end_as_failed
from functions.providers._received import received_fact
from functions.providers._revision import can_be_paid, changes_of_payment
from functions.providers._static_code import is_code_id, received_deposit_id
from shared.context import saga
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.clock import format_time
from shared.core.problems import Problem
from shared.ports.documents import PLATFORM
from shared.ports.rail import Receipt
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.charges import CHARGES, RECEIPTS, ChargeDocument, ReceiptDocument, ReceiptMismatch, receipt_id
from shared.records.deposits import DEPOSITS, DepositDocument
from shared.records.pix_charges import PIX_CHARGES, PixChargeChanges, PixChargeDocument
from shared.records.pix_static_codes import STATIC_CODES
from shared.records.system_accounts import HOME_CURRENCY, system_account

COMMIT_SECONDS: Final = 600
"""How long a payment of a charge that is not stored yet is refused, so that the provider reports it again."""


class _Outcome(NamedTuple):
    """The result of matching: why the payment does not fit, or None, and the id of the charge for events."""

    mismatch: ReceiptMismatch | None
    charge_id: str


async def process_receipt(ctx: Context, provider: str, receipt: Receipt) -> None:
    """Process one reported payment, once.

    A payment that fits no charge is stored for an operator: the provider cannot correct it. Raises Problem
    `dependency_unavailable` when its charge is being created at this moment.
    """
    charge = None
    if receipt.reference is not None:
        charge = await ctx.get(CHARGES, receipt.reference)
    # derived_id takes its time from the id at the end of the cause. The reference is such an id without a prefix.
    cause_id = f"{provider}/{receipt.id}/chg_{receipt.reference}"
    if charge is None or charge["provider"] != provider:
        await run_in_tenant_unit_of_work(
            ctx, PLATFORM, cause_id, lambda scope: _store_unknown(scope, provider, receipt)
        )
        return
    found = charge
    await run_in_tenant_unit_of_work(
        ctx,
        charge["charged_tenant_id"],
        cause_id,
        lambda scope: _match(scope, found, receipt),
        correlation_id=charge["correlation_id"],
    )


async def _store_unknown(scope: Context, provider: str, receipt: Receipt) -> None:
    if await scope.get(RECEIPTS, receipt_id(provider, receipt.id)) is None:
        _store(scope, provider, receipt, "unknown_charge")


async def _match(scope: Context, charge: ChargeDocument, receipt: Receipt) -> None:
    """Match the payment with its charge; one that does not fit goes to the suspense account, with the reason."""
    if await scope.get(RECEIPTS, receipt_id(charge["provider"], receipt.id)) is not None:
        return
    if is_code_id(charge["id"]):
        outcome = await _match_static_code(scope, charge, receipt)
    elif (pix_charge := await scope.get(PIX_CHARGES, charge["id"])) is not None:
        outcome = await _match_pix_charge(scope, pix_charge, charge["provider"], receipt)
    else:
        outcome = await _match_deposit(scope, charge, receipt)
    _store(scope, charge["provider"], receipt, outcome.mismatch)
    if outcome.mismatch is not None:
        await _suspend(scope, charge, receipt, outcome)


async def _match_pix_charge(scope: Context, charge: PixChargeDocument, provider: str, receipt: Receipt) -> _Outcome:
    account = await scope.required(ACCOUNTS, charge["account_id"])
    # A closing does not wait for charges, so the account must still be as it was read.
    scope.expect(ACCOUNTS, account)
    mismatch: ReceiptMismatch | None = None
    paid_at = receipt.paid_at or scope.now_text
    changes = changes_of_payment(charge, receipt.amount, paid_at)
    if charge["end_to_end_id"] is not None:
        mismatch = "paid_twice"
    elif not can_be_paid(charge, paid_at):
        mismatch = "charge_over"
    elif changes is None:
        mismatch = "wrong_amount"
    else:
        mismatch = _account_mismatch(account)
    if mismatch is None:
        paid: PixChargeChanges = {**(changes or {}), "end_to_end_id": receipt.id, "updated_at": scope.now_text}
        scope.update(PIX_CHARGES, charge, **paid)
        owner = _Owner(charge["deposit_id"], provider, charge["account_id"], charge["correlation_id"])
        await _receive(scope, owner, charge["txid"], receipt, None)
    return _Outcome(mismatch, charge["txid"])


async def _match_static_code(scope: Context, charge: ChargeDocument, receipt: Receipt) -> _Outcome:
    """Make the payment of a static code a deposit of its own; a code has any number of them."""
    code = await scope.get(STATIC_CODES, charge["id"])
    if code is None:
        return _Outcome(_while_created(scope, charge), charge["id"])
    account = await scope.required(ACCOUNTS, code["account_id"])
    # A closing does not wait for payments, so the account must still be as it was read.
    scope.expect(ACCOUNTS, account)
    mismatch = _account_mismatch(account)
    if code["amount"] not in (None, receipt.amount):
        mismatch = "wrong_amount"
    if mismatch is None:
        deposit_id = received_deposit_id(scope, charge["deposit_id"], receipt.id)
        owner = _Owner(deposit_id, charge["provider"], code["account_id"], charge["correlation_id"])
        await _receive(scope, owner, code["txid"], receipt, None)
    return _Outcome(mismatch, code["txid"])


async def _match_deposit(scope: Context, charge: ChargeDocument, receipt: Receipt) -> _Outcome:
    deposit = await scope.get(DEPOSITS, charge["deposit_id"])
    if deposit is None:
        return _Outcome(_while_created(scope, charge), charge["id"])
    account = await scope.required(ACCOUNTS, deposit["account_id"])
    if deposit["due_at"] is None:
        # A closing does not wait for this deposit, so the account must still be as it was read.
        scope.expect(ACCOUNTS, account)
    mismatch: ReceiptMismatch | None = None
    if deposit["end_to_end_id"] is not None:
        mismatch = "paid_twice"
    elif deposit["status"] != "created":
        mismatch = "deposit_over"
    elif receipt.amount != deposit["amount"]:
        mismatch = "wrong_amount"
    else:
        mismatch = _account_mismatch(account)
    if mismatch == "account_blocked":
        await end_as_failed(scope, deposit, blocked_failure())
    if mismatch is None:
        paid_at = receipt.paid_at or scope.now_text
        paid = scope.update(DEPOSITS, deposit, end_to_end_id=receipt.id, paid_at=paid_at, updated_at=scope.now_text)
        scope.emit(received_fact(paid, None))
    return _Outcome(mismatch, charge["id"])


def _while_created(scope: Context, charge: ChargeDocument) -> ReceiptMismatch:
    """Return the mismatch of a charge that was never stored. Raises Problem while it may be in creation: the payment
    was faster than the response to `POST /v1/pix/charges`, and the provider reports it again."""
    if charge["created_at"] > format_time(scope.now - timedelta(seconds=COMMIT_SECONDS)):
        raise Problem("dependency_unavailable", "The charge is being created. Send the callback again.")
    return "unknown_charge"


def _account_mismatch(account: AccountDocument) -> ReceiptMismatch | None:
    if account["status"] == "closed":
        return "account_closed"
    return "account_blocked" if account["block_mode"] == "all" else None


async def _suspend(scope: Context, charge: ChargeDocument, receipt: Receipt, outcome: _Outcome) -> None:
    """Credit the payment to the tenant's suspense account, as a deposit of its own."""
    deposit_id = scope.derived_id("dep", charge["deposit_id"], f"suspense/{receipt.id}")
    suspense = system_account("suspense", HOME_CURRENCY)
    owner = _Owner(deposit_id, charge["provider"], suspense, charge["correlation_id"])
    await _receive(scope, owner, outcome.charge_id, receipt, outcome.mismatch)


class _Owner(NamedTuple):
    """The deposit that a payment becomes."""

    deposit_id: str
    provider: str
    account_id: str
    correlation_id: str


async def _receive(
    scope: Context, owner: _Owner, txid: str, receipt: Receipt, mismatch: ReceiptMismatch | None
) -> None:
    """Store the deposit of a payment that has arrived, and request its transfer from the ledger."""
    assert owner.provider == "pix", "another rail needs a method of its own"
    deposit: DepositDocument = {
        "id": owner.deposit_id,
        "tenant_id": scope.tenant_id,
        "version": 1,
        "status": "created",
        "account_id": owner.account_id,
        "amount": receipt.amount,
        "currency": HOME_CURRENCY,
        "method": "pix",
        "txid": txid,
        "transfer_id": scope.derived_id("ltr", owner.deposit_id, "deposit"),
        "end_to_end_id": receipt.id,
        "failure": None,
        "correlation_id": owner.correlation_id,
        "attempt": 1,
        "due_at": await saga.begin(scope, "deposit", owner.deposit_id),
        "paid_at": receipt.paid_at or scope.now_text,
        "amount_returned": 0,
        "amount_returning": 0,
        "created_at": scope.now_text,
        "updated_at": scope.now_text,
    }
    scope.insert(DEPOSITS, deposit)
    scope.emit(received_fact(deposit, mismatch))


def _store(scope: Context, provider: str, receipt: Receipt, mismatch: ReceiptMismatch | None) -> None:
    document: ReceiptDocument = {
        "id": receipt_id(provider, receipt.id),
        "tenant_id": scope.tenant_id,
        "version": 1,
        "provider": provider,
        "txid": receipt.reference,
        "amount": receipt.amount,
        "status": "matched" if mismatch is None else "unmatched",
        "reason": mismatch,
        "report": receipt.report,
        "received_at": scope.now_text,
    }
    scope.insert(RECEIPTS, document)
    if mismatch is not None:
        scope.log.warning("%s reports %s for %s: %s", provider, receipt.id, receipt.reference, mismatch)
