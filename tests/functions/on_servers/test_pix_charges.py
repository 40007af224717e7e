"""PIX charges on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.providers.test_pix_charges import *  # noqa: F403
