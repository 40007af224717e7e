"""Limits of accounts on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.accounts.test_limits import *  # noqa: F403
