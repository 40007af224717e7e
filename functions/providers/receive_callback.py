"""POST /v1/providers/{provider}/callbacks: a provider reports payments that it has received."""

from __future__ import annotations

from pydantic import Field

from functions.providers._deposit import blocked_failure, end_as_failed
from functions.providers._paid_charge import charge_paid_fact
from shared.context.context import Context
from shared.context.tenant_work import run_in_tenant_unit_of_work
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.models import Resource
from shared.http.operation import Access
from shared.ports.documents import PLATFORM
from shared.ports.rail import Rail, Receipt, callback_secret_name
from shared.records.accounts import ACCOUNTS
from shared.records.charges import CHARGES, RECEIPTS, ChargeDocument, ReceiptDocument, ReceiptMismatch
from shared.records.deposits import DEPOSITS


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
    provider's id of it. A payment of a known charge goes on to the ledger. A payment that fits no charge is stored for
    an operator and is answered with 200 too: the provider cannot correct it.
    """
    rail = ctx.rails.get(provider)
    if rail is None:
        raise Problem("not_found", "There is no such provider.")
    receipts = await _read(provider, rail, request, ctx)
    for receipt in receipts:
        await _process(provider, receipt, ctx)
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


async def _process(provider: str, receipt: Receipt, ctx: Context) -> None:
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
    if await scope.get(RECEIPTS, _receipt_id(provider, receipt)) is None:
        _store(scope, provider, receipt, "unknown_charge")


async def _match(scope: Context, charge: ChargeDocument, receipt: Receipt) -> None:
    """Match the payment with the deposit of its charge, or store it as unmatched, with the reason."""
    if await scope.get(RECEIPTS, _receipt_id(charge["provider"], receipt)) is not None:
        return
    deposit = await scope.required(DEPOSITS, charge["deposit_id"])
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
    elif account["status"] == "closed":
        mismatch = "account_closed"
    elif account["block_mode"] == "all":
        mismatch = "account_blocked"
    _store(scope, charge["provider"], receipt, mismatch)
    if mismatch is None:
        scope.update(DEPOSITS, deposit, end_to_end_id=receipt.id, updated_at=scope.now_text)
        scope.emit(charge_paid_fact(deposit, receipt.id))
    elif mismatch == "account_blocked":
        await end_as_failed(scope, deposit, blocked_failure())


def _store(scope: Context, provider: str, receipt: Receipt, mismatch: ReceiptMismatch | None) -> None:
    document: ReceiptDocument = {
        "id": _receipt_id(provider, receipt),
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


def _receipt_id(provider: str, receipt: Receipt) -> str:
    return f"{provider}:{receipt.id}"
