"""Locks that separate two runs of one command. They only save work; correctness does not depend on them.

The stores guarantee it: a second commit of one command is refused by the idempotency key or the inbox marker. A cache
that does not answer therefore costs at most a conflict, and the run continues without the lock.
"""

from __future__ import annotations

import logging
from typing import Final

from shared.context.runtime import Runtime
from shared.ports.documents import Unavailable

log = logging.getLogger(__name__)
NO_LOCK: Final = 0
"""The token of a run without a lock."""


async def take(runtime: Runtime, key: str) -> int | None:
    """Take a lock for at most `lock_seconds`. Return its token, NO_LOCK when the cache does not answer, or None when
    another run holds the lock."""
    try:
        return await runtime.cache.lock(key, runtime.settings.lock_seconds)
    except Unavailable as error:
        log.warning("going on without a lock: %s", error)
        return NO_LOCK


async def release(runtime: Runtime, key: str, token: int) -> None:
    """Release a lock. If the cache cannot release it, it expires."""
    if token == NO_LOCK:
        return
    try:
        await runtime.cache.unlock(key, token)
    except Unavailable as error:
        log.warning("a lock expires after %s s: %s", runtime.settings.lock_seconds, error)
