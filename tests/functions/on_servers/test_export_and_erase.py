"""Export and erasure of personal data on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.users.test_export_and_erase import *  # noqa: F403
