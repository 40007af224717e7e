"""Idempotency keys: their one form, and the record that a key, its operation and its tenant share."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from shared.core.problems import Problem

# Printable ASCII (0x21-0x7E) without the double quote. The expired IETF draft has the key quoted, older clients
# send it bare: both name the same key.
_KEY: Final = re.compile(r'(")?([!#-~]{1,255})(?(1)")')


def parse_key(header_value: str) -> str:
    """The key that an Idempotency-Key header names, bare or quoted.

    Raises Problem `malformed_request` unless it is 1 to 255 printable ASCII characters without space and quote.
    """
    match = _KEY.fullmatch(header_value)
    if match is None:
        raise Problem(
            "malformed_request",
            "Idempotency-Key must be 1 to 255 printable ASCII characters without space and quote.",
        )
    return match[2]


def record_id(tenant_id: str, method: str, path: str, key: str) -> str:
    """The id of the record of one key: a digest of its scope, the same in every process.

    No two scopes share an id: tenant and method hold no line break and neither does a parsed key.
    """
    scope = f"{tenant_id}\n{method}\n{path}\n{key}"
    return f"idem_{sha256(scope.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
