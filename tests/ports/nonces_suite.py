"""The behaviour of every adapter of the nonces port. Each adapter's tests inherit it, with fixtures `nonces` and
`clock`."""

from __future__ import annotations

from datetime import timedelta

from shared.core.clock import ManualClock
from shared.ports.nonces import Nonce, Nonces

SECOND = timedelta(seconds=1)


class NoncesSuite:
    """Behaviour of the nonces port."""

    async def test_a_nonce_is_used_once_however_the_wall_clock_jumps(self, nonces: Nonces, clock: ManualClock) -> None:
        """A used nonce is refused after the wall clock jumped an hour forwards and back, also when others were used
        meanwhile."""
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
        """Nonces with old and future times of issue are refused a second time, at once and minutes later."""
        start = clock.now()
        ages = [timedelta(seconds=seconds) for seconds in (-299, -120, -31, -29, -1, 0, 1, 4, 6, 299)]
        for age in ages:
            assert await nonces.use_once(Nonce("ten_1", b"n", start + age, start + age + 600 * SECOND))
        for _ in range(5):
            clock.advance(60 * SECOND)
            for age in ages:
                assert not await nonces.use_once(Nonce("ten_1", b"n", start + age, start + age + 600 * SECOND))
