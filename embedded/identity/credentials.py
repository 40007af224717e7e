"""The file credentials.json: the clients, keys and URLs that a developer needs to call the platform. Its mode is
0600."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

FILE_NAME: Final = "credentials.json"


class BadCredentials(Exception):
    """The file cannot be used. The text has the file, the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A client of the token endpoint and, when it belongs to a tenant, the key that it signs with."""

    client_id: str
    client_secret: str
    tenant_id: str | None = None
    key_id: str | None = None
    signing_secret: str | None = None


class _Tenant(BaseModel):
    """A tenant's entry: an Identity's fields."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str
    client_id: str
    client_secret: str
    key_id: str
    signing_secret: str


class _Client(BaseModel):
    """The client of the platform's operator."""

    model_config = ConfigDict(extra="forbid")

    client_id: str
    client_secret: str


class _Content(BaseModel):
    """The fields that the file may have."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = ""
    token_url: str = ""
    audience: str = ""
    platform: _Client | None = None
    demo: _Tenant | None = None
    tenants: dict[str, _Tenant] | None = None


@dataclass(slots=True)
class Credentials:
    """The file's content. `demo` and further `tenants` hold an Identity's fields."""

    path: Path
    base_url: str = ""
    token_url: str = ""
    audience: str = ""
    platform: dict[str, str] | None = None
    demo: dict[str, str] | None = None
    tenants: dict[str, dict[str, str]] | None = None

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """Return the file's content, or None when there is no file. Raises BadCredentials."""
        path = data_dir / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadCredentials(f"{path} cannot be read: {reason}") from None
        try:
            content = _Content.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            wrong = f"{where}: {first['msg']}" if where else first["msg"]
            raise BadCredentials(
                f"{path} is damaged ({wrong}): restore it from a backup, or remove it, and `up` writes a new one "
                "with the secrets of the platform and the demo tenant"
            ) from None
        return cls(path, **content.model_dump(exclude_none=True))

    def text(self) -> str:
        """Return the content as indented JSON, without the fields that are None."""
        names = ("base_url", "token_url", "audience", "platform", "demo", "tenants")
        content = {name: value for name in names if (value := getattr(self, name)) is not None}
        return json.dumps(content, indent=2) + "\n"

    def write(self) -> None:
        """Write the file atomically, readable only by its owner."""
        aside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.text())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)

    def identity_of(self, tenant_id: str | None) -> Identity | None:
        """Return the client of a tenant, or None when it is unknown. Without `tenant_id`, return the client of the
        first tenant, which is the demo tenant."""
        known = [*([self.demo] if self.demo else []), *(self.tenants or {}).values()]
        for entry in known:
            if tenant_id in (None, entry["tenant_id"]):
                return Identity(**entry)
        return None

    def platform_identity(self) -> Identity | None:
        """Return the platform's own client, or None."""
        return None if self.platform is None else Identity(**self.platform)

    def add_tenant(self, created: dict[str, Any]) -> None:
        """Add the client and key of a new tenant, from the response that shows them once."""
        self.tenants = {**(self.tenants or {}), created["id"]: tenant_entry(created)}

    def replace_key(self, tenant_id: str, key: dict[str, Any]) -> bool:
        """Replace a tenant's signing key. Return False when the tenant is not in the file."""
        change = {"key_id": key["key_id"], "signing_secret": key["secret"]}
        if self.demo is not None and self.demo["tenant_id"] == tenant_id:
            self.demo = {**self.demo, **change}
        elif self.tenants is not None and tenant_id in self.tenants:
            self.tenants = {**self.tenants, tenant_id: {**self.tenants[tenant_id], **change}}
        else:
            return False
        return True


def tenant_entry(created: dict[str, Any]) -> dict[str, str]:
    """Return the fields of an Identity from the response of `POST /v1/tenants`."""
    return {
        "tenant_id": created["id"],
        "client_id": created["client"]["client_id"],
        "client_secret": created["client"]["client_secret"],
        "key_id": created["signing_key"]["key_id"],
        "signing_secret": created["signing_key"]["secret"],
    }
