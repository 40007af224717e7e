"""The policies of Vault: what the functions of each domain may do, and nothing else.

The files in knative/platform/vault are these texts for the usual mounts; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.adapters.vault.address import Address


class Right(NamedTuple):
    """The capabilities on a path, and the reason."""

    path: str
    """`{transit}`, `{kv}` and `{prefix}` are replaced by those of the address. `+` matches one part of a path, `*` any
    rest."""
    capabilities: tuple[str, ...]
    why: str


_UPDATE: Final = ("update",)


def _transit(action: str, purpose: str, why: str) -> Right:
    return Right(f"{{transit}}/{action}/{{prefix}}-{purpose}", _UPDATE, why)


_SIGNATURES: Final = (_transit("decrypt", "signing-secrets", "Verifies the signatures of requests."),)
_RESPONSES: Final = (
    _transit("encrypt", "responses", "Stores responses for retries of a request."),
    _transit("decrypt", "responses", "Repeats a stored response."),
)
RIGHTS: Final[Mapping[str, tuple[Right, ...]]] = {
    "accounts": _SIGNATURES,
    "ledger": _SIGNATURES,
    "notifications": (
        *_SIGNATURES,
        _transit("encrypt", "personal-data", "Stores the tokens of devices."),
        _transit("decrypt", "personal-data", "Writes to users by their names and addresses."),
        _transit("rewrap", "personal-data", "Seals the tokens of devices again after a key was rotated."),
    ),
    "operations": _SIGNATURES,
    "payments": (
        *_SIGNATURES,
        _transit("encrypt", "receivers", "Stores the receivers of payments over a rail."),
    ),
    "providers": (
        *_SIGNATURES,
        Right("{kv}/data/{prefix}/providers/+/callback-secret", ("read",), "Verifies the callbacks of providers."),
        _transit("decrypt", "receivers", "Orders payments over a rail at their providers."),
        _transit("encrypt", "payers", "Stores the debtors of charges, and the texts of reports of fraud."),
        _transit("decrypt", "payers", "Shows them to their tenant."),
        _transit("rewrap", "payers", "Seals them again after a key was rotated."),
        Right("{transit}/hmac/{prefix}-blind-index/sha2-256", _UPDATE, "Finds the charges of a debtor by number."),
        *_RESPONSES,
    ),
    "statements": _SIGNATURES,
    "tenants": (
        *_SIGNATURES,
        _transit("encrypt", "signing-secrets", "Stores the secrets of new signing keys."),
        *_RESPONSES,
    ),
    "users": (
        *_SIGNATURES,
        _transit("encrypt", "personal-data", "Stores personal data."),
        _transit("decrypt", "personal-data", "Shows a user to the user's tenant."),
        _transit("rewrap", "personal-data", "Seals personal data again after a key was rotated."),
        _transit("decrypt", "payers", "Exports to a user the charges that name the user as debtor."),
        Right("{transit}/hmac/{prefix}-blind-index/sha2-256", _UPDATE, "Finds a user by document number."),
        *_RESPONSES,
    ),
    "webhooks": (
        *_SIGNATURES,
        _transit("encrypt", "webhook-secrets", "Stores the secrets of new endpoints."),
        _transit("decrypt", "webhook-secrets", "Signs the events that are sent."),
        *_RESPONSES,
    ),
    "platform": (
        Right("{transit}/encrypt/{prefix}-*", _UPDATE, "One process has the functions of every domain."),
        Right("{transit}/decrypt/{prefix}-*", _UPDATE, "One process has the functions of every domain."),
        Right("{transit}/rewrap/{prefix}-*", _UPDATE, "Seals fields again after a key was rotated."),
        Right("{transit}/hmac/{prefix}-blind-index/sha2-256", _UPDATE, "Finds a user by document number."),
        Right("{kv}/data/{prefix}/*", ("create", "read", "update"), "Makes and reads the platform's own secrets."),
    ),
}
"""The rights of the functions of each domain. `platform` is `lastro up`, which has the functions of all domains."""


def policy_name(address: Address, domain: str) -> str:
    """Return the name of a domain's policy, which is also the name of its role."""
    return f"{address.prefix}-{domain}"


def policy(address: Address, domain: str) -> str:
    """Return the text of a domain's policy, in Vault's configuration language."""
    places = {"transit": address.transit, "kv": address.kv, "prefix": address.prefix}
    parts = [
        "# What `lastro up` may do." if domain == "platform" else f"# What the functions of the domain {domain} may do."
    ]
    for right in RIGHTS[domain]:
        named = ", ".join(f'"{capability}"' for capability in right.capabilities)
        path = right.path.format(**places)
        parts.append(f'# {right.why}\npath "{path}" {{\n  capabilities = [{named}]\n}}')
    return "\n\n".join(parts) + "\n"
