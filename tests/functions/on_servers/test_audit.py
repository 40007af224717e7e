"""The daily audit on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.operations.test_audit import *  # noqa: F403
