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


class ClientRequested(Event):
    """The realm that issues access tokens is to have a client of a new tenant, which is pending until then."""

    type: ClassVar[str] = "lastro.tenant.client_requested.v1"
    topic: ClassVar[str] = topics.TENANTS
    subject_field: ClassVar[str] = "tenant_id"

    tenant_id: str
    client_id: str


class ClientRegistered(Event):
    """The realm has the client of a new tenant, which is active from now on."""

    type: ClassVar[str] = "lastro.tenant.client_registered.v1"
    topic: ClassVar[str] = topics.TENANTS
    subject_field: ClassVar[str] = "tenant_id"
    terminal: ClassVar[bool] = True

    tenant_id: str
    client_id: str


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
