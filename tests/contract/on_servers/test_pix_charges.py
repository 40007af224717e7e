"""PIX charges on real servers: the tests of the embedded stores, unchanged."""

from tests.contract.test_pix_charges import *  # noqa: F403
