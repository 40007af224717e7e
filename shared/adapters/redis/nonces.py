"""The nonces port on Redis: the fast refusal of a signature that was used before.

Redis may lose nonces, and may not answer. It is chosen only beside documents that check `Commit.nonce`: there a second
use fails, and a request that commits nothing may be repeated without harm.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import Final

from shared.adapters.redis.cache import Answers
from shared.core.clock import Clock
from shared.ports.documents import Unavailable
from shared.ports.nonces import Nonce

log = logging.getLogger(__name__)

_SKEW: Final = timedelta(seconds=60)
"""A nonce is stored so much longer than its signature is accepted here: the clock of another process may be behind."""


class RedisNonces:
    """The nonces port. It accepts a nonce when the server does not answer in `cache_seconds`."""

    def __init__(self, server: Answers, namespace: str, clock: Clock) -> None:
        self._server = server
        self._namespace = namespace
        self._clock = clock

    async def use_once(self, nonce: Nonce) -> bool:
        lifetime = max(nonce.expires_at - self._clock.now(), timedelta()) + _SKEW
        # The driver may repeat a command whose answer was lost. It then finds this call's own name.
        caller = secrets.token_bytes(8)
        issued = nonce.issued_at.isoformat()
        key = f"{self._namespace}:nonce:{nonce.tenant_id}:{nonce.value.hex()}:{issued}"
        try:
            found = await self._server.result(
                self._server.client.set(key, caller, nx=True, get=True, px=lifetime // timedelta(milliseconds=1))
            )
        except Unavailable as error:
            log.warning("the nonce of a signature is checked by its commit alone: %s", error)
            return True
        return found is None or found == caller
