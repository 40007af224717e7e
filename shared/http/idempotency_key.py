"""Idempotency keys: their form, and the id of the document that is stored for a key."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from shared.core.problems import Problem

# Printable ASCII (0x21-0x7E) without the double quote. The expired IETF draft on this header puts the key in quotes,
# older clients do not: both forms are the same key.
_KEY: Final = re.compile(r'(")?([!#-~]{1,255})(?(1)")')


def parse_key(header_value: str) -> str:
    """Return the key of an Idempotency-Key header, without quotes.

    Raises Problem `malformed_request` unless it is 1 to 255 printable ASCII characters without space and quote.
    """
    match = _KEY.fullmatch(header_value)
    if match is None:
        raise Problem(
            "malformed_request",
            "Idempotency-Key must have 1 to 255 printable ASCII characters, without spaces and quotes.",
        )
    return match[2]


def record_id(tenant_id: str, method: str, path: str, key: str, person: str | None = None) -> str:
    """Return the id of the document for one key: a digest of tenant, method, path and key.

    The keys of a person (the user id in a person's token) are apart from those of the tenant and of other persons, so
    that one person's key returns no response of another's. Different scopes have different ids: none of the parts has a
    line break.
    """
    scope = f"{tenant_id}\n{method}\n{path}\n{key}"
    if person is not None:
        scope = f"{scope}\n{person}"
    return f"idem_{sha256(scope.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
