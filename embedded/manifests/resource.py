"""The parts that all resources have: kind, metadata, and references to other resources."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from embedded.manifests.findings import FieldError
from embedded.manifests.names import Annotations, Labels, Name, Namespace

DEFAULT_NAMESPACE: Final = "default"
"""The namespace of a resource that names none: an overlay sets it."""


class Strict(BaseModel):
    """Fields with their names in the manifest and with exact types. Unknown fields are refused, as a cluster refuses
    them: otherwise a misspelt `retry` would mean no retries."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Metadata(Strict):
    """The metadata of a resource of any kind."""

    name: Name
    namespace: Namespace | None = None
    labels: Labels = Field(default_factory=dict)
    annotations: Annotations = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)
    owner_references: list[dict[str, Any]] = Field(default_factory=list)


class Resource(Strict):
    """A resource of a supported kind."""

    api_version: str
    kind: str
    metadata: Metadata
    status: Any = None

    @property
    def name(self) -> str:
        """The name from the metadata."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The namespace, or DEFAULT_NAMESPACE."""
        return self.metadata.namespace or DEFAULT_NAMESPACE


class Reference(Strict):
    """The kind and name of a resource."""

    api_version: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    name: str = Field(min_length=1)
    namespace: str | None = None


class Destination(Strict):
    """The destination of events: `ref`, `uri`, or a `uri` relative to a `ref`."""

    ref: Reference | None = None
    uri: str | None = None
    ca_certs: str | None = Field(default=None, alias="CACerts")
    audience: str | None = None

    @model_validator(mode="after")
    def _is_one_address(self) -> Destination:
        if self.ref is None and self.uri is None:
            raise FieldError("neither ref nor uri is set")
        is_absolute = self.uri is not None and "://" in self.uri
        if self.ref is not None and is_absolute:
            raise FieldError(f"{self.uri!r} is an absolute address beside a ref; remove one of them", "uri")
        if self.ref is None and not is_absolute:
            raise FieldError(f"{self.uri!r} is relative, and there is no ref", "uri")
        return self
