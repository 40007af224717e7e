"""Reconciliation on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.providers.test_reconciliation import *  # noqa: F403
