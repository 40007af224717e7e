"""Idempotency keys on real servers: the tests of the embedded stores, unchanged."""

from tests.contract.test_idempotency import *  # noqa: F403
