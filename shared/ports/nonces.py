"""The nonces port: a signature is accepted once, also after a restart."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol


class Nonce(NamedTuple):
    """A value that a tenant may use once. `value` is the 32 bytes of a signature, which covers `issued_at`."""

    tenant_id: str
    value: bytes
    issued_at: datetime
    expires_at: datetime
    """From then on the signature is refused for its age alone, so the nonce may be forgotten."""


class Nonces(Protocol):
    """The nonces that were used, shared by all processes of the platform."""

    async def use_once(self, nonce: Nonce) -> bool:
        """Use a nonce up. Return True the first time and False ever after, until `expires_at`.

        A store that shares a transaction with the documents makes it durable with the next batch: it survives a
        restart once `Documents.durable` has returned. A store that may lose nonces (Redis) relies on `Commit.nonce`.
        Raises Unavailable when the store cannot answer.
        """
        ...
