"""Locks save work; correctness does not depend on them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ports.documents import Unavailable
from tests.harness import Harness


class _LostCache:
    """A cache that does not answer."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object) -> None:
            raise Unavailable("no cache")

        return refuse


async def test_a_payment_settles_without_a_cache(harness: Harness) -> None:
    """Requests and events are processed, with one effect each, when the cache does not answer."""
    payer, payee = await harness.account(1000), await harness.account()
    harness.runtime.cache = _LostCache()
    payment = await harness.pay(payer["id"], payee["id"], 300)
    await harness.run_events()
    assert (await harness.payment(payment["id"]))["status"] == "settled"
    assert await harness.balance(payee["id"]) == (300, 0, 300)


async def test_a_lock_that_cannot_be_released_expires(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose lock cannot be released is answered."""
    cache = harness.runtime.cache

    class LostAfterTheLock:
        def __getattr__(self, name: str) -> Any:
            return getattr(_LostCache() if name == "unlock" else cache, name)

    harness.runtime.cache = LostAfterTheLock()
    account = await harness.account()
    assert account["status"] == "active"
    assert "a lock expires after 30 s: no cache" in caplog.text
