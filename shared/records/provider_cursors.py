"""How far the payments of each provider have been read (owner: the providers domain)."""

from __future__ import annotations

from typing import Final

from typing_extensions import TypedDict

from shared.ports.documents import Collection, Document


class ProviderCursorDocument(Document):
    """The id is the provider's name, and for payments out that name and `:payments`. All payments up to `read_until`
    were read from its API; of a list that is read again and again, those of the present round. Stored under the
    platform: one list of a provider has the payments of all tenants."""

    read_until: str
    updated_at: str


class ProviderCursorChanges(TypedDict, total=False):
    """The fields of a cursor that may change."""

    read_until: str
    updated_at: str


PROVIDER_CURSORS: Final = Collection(
    "provider_cursors", owner="providers", document=ProviderCursorDocument, changes=ProviderCursorChanges
)
