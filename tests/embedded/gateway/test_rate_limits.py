"""Requests per second and tenant."""

from __future__ import annotations

import pytest

from embedded.gateway import rate_limits
from embedded.gateway.rate_limits import RateLimits
from shared.core.problems import Problem


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_bucket_holds_one_second_of_requests() -> None:
    """A tenant may send one second's requests at once; more are refused with Retry-After and the limit's headers."""
    limits = RateLimits(3, Seconds())
    left = [limits.take("t", None)["ratelimit-remaining"] for _ in range(3)]
    with pytest.raises(Problem) as refused:
        limits.take("t", None)
    headers = {name.lower(): value for name, value in refused.value.headers.items()}
    assert left == ["2", "1", "0"]
    assert refused.value.status == 429
    assert headers["retry-after"] == "1"
    assert headers["x-ratelimit-limit-second"] == headers["ratelimit-limit"] == "3"
    assert headers["x-ratelimit-remaining-second"] == "0"


def test_time_fills_the_bucket_again() -> None:
    """The bucket is refilled evenly over time, up to one second's requests."""
    seconds = Seconds()
    limits = RateLimits(2, seconds)
    for _ in range(2):
        limits.take("t", None)
    seconds.now += 0.5
    assert limits.take("t", None)["ratelimit-remaining"] == "0"
    seconds.now += 60
    assert limits.take("t", None)["ratelimit-remaining"] == "1"


def test_a_tenant_s_own_limit_overrides_the_file_s() -> None:
    """A tenant with its own limit has that limit, and each other tenant the gateway's."""
    limits = RateLimits(1, Seconds())
    limits.take("small", None)
    assert limits.take("big", 10)["ratelimit-limit"] == "10"
    with pytest.raises(Problem):
        limits.take("small", None)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, the bucket of the tenant that was idle longest is dropped, which refills it."""
    monkeypatch.setattr(rate_limits, "MAX_TENANTS", 2)
    limits = RateLimits(1, Seconds())
    for tenant in ("a", "b", "c"):
        limits.take(tenant, None)
    assert limits.take("a", None)["ratelimit-remaining"] == "0"
