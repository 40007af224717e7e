"""POST /v1/providers/{provider}/callbacks: a provider reports money that came in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from functions.providers._paid_charge import charge_paid_fact
from shared.adapters.pix import callback_signature as provider_signature
from shared.adapters.pix import formats as pix
from shared.context.context import Context
from shared.context.tenant_work import apart
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.models import Resource
from shared.http.operation import Access
from shared.http.strict_json import parse
from shared.http.validation import body_problem
from shared.ports.documents import PLATFORM
from shared.records.charges import CHARGES, RECEIPTS, ChargeDocument, ReceiptDocument
from shared.records.deposits import DEPOSITS

_PROVIDERS = frozenset({"pix"})


def _known_amount(text: str) -> str:
    pix.parse_amount(text)
    return text


class ReceivedPix(BaseModel):
    """One payment received, as the rail tells of it. Whatever else it says is kept with it."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    endToEndId: Annotated[str, Field(pattern=pix.END_TO_END_PATTERN)]  # noqa: N815 - the rail's own name
    txid: Annotated[str, Field(max_length=35)] | None = None
    valor: Annotated[str, AfterValidator(_known_amount)]
    horario: Annotated[str, Field(max_length=64)]


class PixCallback(BaseModel):
    """What the rail posts to a webhook; several payments may share a call."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    pix: list[ReceivedPix] = Field(max_length=500)


class CallbackTaken(Resource):
    """How many reports were taken, those seen before among them."""

    received: int


@http_function(
    "POST /v1/providers/{provider}/callbacks",
    access=Access.PROVIDER,
    problems=("missing_signature", "invalid_signature", "timestamp_out_of_window"),
)
async def receive_callback(provider: str, request: HttpRequest, ctx: Context) -> CallbackTaken:
    """Take a provider's report: signed, deduplicated by the end-to-end id, and never lost.

    Money for a known charge goes on to the ledger. Money that fits no charge is kept for a person to look at, and
    answered 200 as well: the provider has done its part, and asking it again would not make the money fit.
    """
    await _authenticate(provider, request, ctx)
    reports = _reports(request.body, ctx)
    for report in reports:
        await _take(provider, report, ctx)
    return CallbackTaken(received=len(reports))


async def _authenticate(provider: str, request: HttpRequest, ctx: Context) -> None:
    if provider not in _PROVIDERS:
        raise Problem("not_found", "There is no such provider.")
    secret = await ctx.runtime.secrets.get(provider_signature.secret_name(provider))
    if secret is None:
        ctx.log.error("there is no secret %s: callbacks are refused", provider_signature.secret_name(provider))
        raise Problem("invalid_signature", "The callback cannot be authenticated.")
    window = ctx.runtime.settings.timestamp_window_seconds
    provider_signature.verify(secret, request.headers, request.body, ctx.now, window)


def _reports(body: bytes, ctx: Context) -> list[ReceivedPix]:
    value = parse(body, max_depth=ctx.runtime.settings.max_json_depth)
    try:
        return PixCallback.model_validate(value).pix
    except ValidationError as error:
        raise body_problem(error) from None


async def _take(provider: str, report: ReceivedPix, ctx: Context) -> None:
    charge = None
    if report.txid is not None:
        charge = await ctx.runtime.documents.get(CHARGES, PLATFORM, report.txid)
    # Ids derived from a cause carry the time that its end names: a txid of ours is such an id without its prefix.
    cause_id = f"{provider}/{report.endToEndId}/chg_{report.txid}"
    if charge is None or charge["provider"] != provider:
        await apart(ctx, PLATFORM, cause_id, lambda scope: _keep_unknown(scope, provider, report))
        return
    found = charge
    await apart(
        ctx,
        charge["charged_tenant_id"],
        cause_id,
        lambda scope: _match(scope, found, report),
        correlation_id=charge["correlation_id"],
    )


async def _keep_unknown(scope: Context, provider: str, report: ReceivedPix) -> None:
    if await scope.get(RECEIPTS, _receipt_id(provider, report)) is None:
        _keep(scope, provider, report, "unknown_charge")


async def _match(scope: Context, charge: ChargeDocument, report: ReceivedPix) -> None:
    """Give the money to the charge's deposit, or say why it is not that deposit's."""
    if await scope.get(RECEIPTS, _receipt_id(charge["provider"], report)) is not None:
        return
    deposit = await scope.required(DEPOSITS, charge["deposit_id"])
    reason: Any = None
    if deposit["end_to_end_id"] is not None:
        reason = "paid_twice"
    elif deposit["status"] != "created":
        reason = "deposit_over"
    elif pix.parse_amount(report.valor) != deposit["amount"]:
        reason = "wrong_amount"
    _keep(scope, charge["provider"], report, reason)
    if reason is None:
        scope.update(DEPOSITS, deposit, end_to_end_id=report.endToEndId, updated_at=scope.now_text)
        scope.emit(charge_paid_fact(deposit, report.endToEndId))


def _keep(scope: Context, provider: str, report: ReceivedPix, reason: Any) -> None:
    receipt: ReceiptDocument = {
        "id": _receipt_id(provider, report),
        "tenant_id": scope.tenant_id,
        "version": 1,
        "provider": provider,
        "txid": report.txid,
        "amount": pix.parse_amount(report.valor),
        "status": "matched" if reason is None else "unmatched",
        "reason": reason,
        "report": report.model_dump(mode="json"),
        "received_at": scope.now_text,
    }
    scope.insert(RECEIPTS, receipt)
    if reason is not None:
        scope.log.warning("%s reports %s for %s: %s", provider, report.endToEndId, report.txid, reason)


def _receipt_id(provider: str, report: ReceivedPix) -> str:
    return f"{provider}:{report.endToEndId}"
