"""The nonces port on Redis: it refuses a used signature without a read of the documents.

Redis may lose nonces, and may not answer. It is selected only together with documents that check `Commit.nonce`: there
a second use fails, and repeating a request that commits nothing does no harm.
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
"""The additional time for which a nonce is stored after its signature expires here, because the clock of another
process may be behind."""


class RedisNonces:
    """The nonces port. It accepts a nonce when the server does not answer within `cache_seconds`."""

    def __init__(self, server: Answers, namespace: str, clock: Clock) -> None:
        self._server = server
        self._namespace = namespace
        self._clock = clock

    async def use_once(self, nonce: Nonce) -> bool:
        lifetime = max(nonce.expires_at - self._clock.now(), timedelta()) + _SKEW
        # The driver may repeat a command whose response was lost. The repeated command finds this call's own name.
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
