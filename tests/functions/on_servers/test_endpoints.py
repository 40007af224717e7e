"""Endpoints of webhooks on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.webhooks.test_endpoints import *  # noqa: F403
