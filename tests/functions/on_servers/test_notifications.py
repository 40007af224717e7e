"""Notifications on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.notifications.test_notifications import *  # noqa: F403
