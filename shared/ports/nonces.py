"""The nonces port: it makes sure that a signature is accepted once, also after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol


class Nonce(NamedTuple):
    """A value that a tenant may use once. `value` is the 32 bytes of a signature, which covers `issued_at`."""

    tenant_id: str
    value: bytes
    issued_at: datetime
    expires_at: datetime
    """The time after which the signature is too old to be accepted, so that the nonce may be removed."""


class Nonces(Protocol):
    """The nonces that were used, shared by all processes of the platform."""

    async def use_once(self, nonce: Nonce) -> bool:
        """Mark a nonce as used. Return True the first time, and False afterwards until `expires_at`.

        A store that shares a transaction with the documents makes it durable with the next batch: it survives a restart
        once `Documents.durable` has returned. A store that may lose nonces (Redis) relies on `Commit.nonce`, and
        returns True when it cannot answer. Other stores raise Unavailable then.
        """
        ...
