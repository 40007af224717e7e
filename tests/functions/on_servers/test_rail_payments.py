"""Payments over a rail on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.payments.test_rail_payments import *  # noqa: F403
