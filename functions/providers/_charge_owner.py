"""The connection of a charge at a provider with its tenant, which a callback does not name."""

from __future__ import annotations

from shared.context.context import Context
from shared.ports.documents import PLATFORM
from shared.records.charges import CHARGES, ChargeDocument


async def remember_charge(
    scope: Context, provider: str, charge_id: str, tenant_id: str, deposit_id: str, correlation_id: str
) -> None:
    """Store the tenant and the deposit of a charge, in a unit of work of the platform. Stored once."""
    if await scope.get(CHARGES, charge_id) is not None:
        return
    charge: ChargeDocument = {
        "id": charge_id,
        "tenant_id": PLATFORM,
        "version": 1,
        "provider": provider,
        "charged_tenant_id": tenant_id,
        "deposit_id": deposit_id,
        "correlation_id": correlation_id,
        "created_at": scope.now_text,
    }
    scope.insert(CHARGES, charge)
