"""Webhooks on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.webhooks.test_deliveries import *  # noqa: F403
