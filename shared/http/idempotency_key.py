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


def record_id(tenant_id: str, method: str, path: str, key: str) -> str:
    """Return the id of the document for one key: a digest of tenant, method, path and key.

    Different scopes have different ids: neither a tenant's id nor a method nor a parsed key has a line break.
    """
    scope = f"{tenant_id}\n{method}\n{path}\n{key}"
    return f"idem_{sha256(scope.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
