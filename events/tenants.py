"""Facts of the tenants domain."""

from typing import ClassVar

from events import topics
from shared.core.envelope import Event


class TenantCreated(Event):
    """A tenant was created."""

    type: ClassVar[str] = "lastro.tenant.created.v1"
    topic: ClassVar[str] = topics.TENANTS
    subject_field: ClassVar[str] = "tenant_id"
    terminal: ClassVar[bool] = True

    tenant_id: str
    name: str


class SigningKeyRotated(Event):
    """A tenant has a new signing key. The previous key is accepted until its grace period ends."""

    type: ClassVar[str] = "lastro.tenant.signing_key_rotated.v1"
    topic: ClassVar[str] = topics.TENANTS
    subject_field: ClassVar[str] = "tenant_id"
    terminal: ClassVar[bool] = True

    tenant_id: str
    key_id: str
    previous_key_id: str | None
    grace_until: str | None
