"""The retention of stored responses on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.operations.test_idempotency_retention import *  # noqa: F403
