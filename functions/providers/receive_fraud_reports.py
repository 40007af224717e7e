"""POST /v1/providers/pix/callbacks/med: the PIX provider reports frauds of received payments."""

from __future__ import annotations

from pydantic import Field

from functions.providers._callbacks import callback_secret
from functions.providers._fraud_report import process_fraud_report
from functions.providers._pix_charge import PROVIDER
from shared.context.context import Context
from shared.functions.decorators import http_function
from shared.http.messages import HttpRequest
from shared.http.models import Resource
from shared.http.operation import Access


class FraudReportsTaken(Resource):
    """The response to a provider's reports of fraud."""

    received: int = Field(description="How many reports were accepted, repeated ones included.")


@http_function(
    "POST /v1/providers/pix/callbacks/med",
    access=Access.PROVIDER,
    problems=("missing_signature", "invalid_signature", "timestamp_out_of_window"),
)
async def receive_fraud_reports(request: HttpRequest, ctx: Context) -> FraudReportsTaken:
    """Receive reports of fraud about received payments, and their withdrawals (Mecanismo Especial de Devolução).

    The callback is authenticated by the provider's signature, and each report is processed once, by the provider's id
    of it: as much of the amount as the account has available is held, and the tenant is to decide.
    """
    secret = await callback_secret(PROVIDER, ctx)
    window = ctx.signature_window_seconds
    reports = ctx.rails[PROVIDER].read_fraud_reports(
        request.headers, request.body, secret=secret, now=ctx.now, window_seconds=window
    )
    for report in reports:
        await process_fraud_report(ctx, PROVIDER, report)
    return FraudReportsTaken(received=len(reports))
