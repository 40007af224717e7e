"""What every adapter of the nonces port does; each adapter's tests inherit it with `nonces` and `clock` fixtures."""

from __future__ import annotations

from datetime import timedelta

from shared.core.clock import ManualClock
from shared.ports.nonces import Nonce, Nonces

SECOND = timedelta(seconds=1)


class NoncesSuite:
    """Behaviour of the nonces port."""

    async def test_a_nonce_is_used_once_however_the_wall_clock_jumps(self, nonces: Nonces, clock: ManualClock) -> None:
        """A nonce is refused again after an hour's jump forwards, while others come in there, and the way back."""
        start = clock.now()
        assert await nonces.use_once(Nonce("ten_1", b"n", start, start + 300 * SECOND))
        clock.jump(3600 * SECOND)
        for number in range(12):
            now = clock.advance(15 * SECOND)
            assert await nonces.use_once(Nonce("ten_1", b"%d" % number, now, now + 300 * SECOND))
        clock.jump(-3600 * SECOND)
        assert not await nonces.use_once(Nonce("ten_1", b"n", start, start + 300 * SECOND))
        now = clock.now()
        assert await nonces.use_once(Nonce("ten_1", b"now", now, now + 300 * SECOND))

    async def test_a_nonce_is_used_once(self, nonces: Nonces, clock: ManualClock) -> None:
        """A nonce is accepted once for its tenant."""
        now = clock.now()
        assert await nonces.use_once(Nonce("ten_1", b"n", now, now + 300 * SECOND))
        assert not await nonces.use_once(Nonce("ten_1", b"n", now, now + 300 * SECOND))
        assert await nonces.use_once(Nonce("ten_2", b"n", now, now + 300 * SECOND))
        assert await nonces.use_once(Nonce("ten_1", b"m", now, now + 300 * SECOND))

    async def test_a_nonce_of_any_age_is_used_once(self, nonces: Nonces, clock: ManualClock) -> None:
        """Stale and future times of issue are remembered like fresh ones, now and minutes later."""
        start = clock.now()
        ages = [timedelta(seconds=seconds) for seconds in (-299, -120, -31, -29, -1, 0, 1, 4, 6, 299)]
        for age in ages:
            assert await nonces.use_once(Nonce("ten_1", b"n", start + age, start + age + 600 * SECOND))
        for _ in range(5):
            clock.advance(60 * SECOND)
            for age in ages:
                assert not await nonces.use_once(Nonce("ten_1", b"n", start + age, start + age + 600 * SECOND))
