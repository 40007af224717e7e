"""Card reconciliation on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.providers.test_card_reconciliation import *  # noqa: F403
