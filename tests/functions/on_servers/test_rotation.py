"""Secrets of webhooks on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.webhooks.test_rotation import *  # noqa: F403
