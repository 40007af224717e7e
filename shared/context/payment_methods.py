"""The kill switch of each payment method."""

from __future__ import annotations

from typing import Final

from shared.context.context import Context
from shared.core.flags import STOP_METHOD
from shared.core.problems import Problem

RETRY_SECONDS: Final = 60
"""When a client may try again: a person has stopped the method, and a person has to start it again."""


def require_method(ctx: Context, method: str) -> None:
    """Refuse new work by a payment method that is stopped for the tenant.

    Only operations that begin something call this. Captures, refunds, callbacks and the steps of what has begun do not,
    so that no money stays on its way. Raises Problem `dependency_unavailable`, which does not use up the idempotency
    key.
    """
    if ctx.runtime.flags.enabled(STOP_METHOD[method], ctx.tenant_id):
        raise Problem(
            "dependency_unavailable",
            f"The payment method `{method}` is stopped at the moment. What was accepted before is finished. Send the "
            "request again later with the same Idempotency-Key.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
