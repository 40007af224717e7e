"""The resources of the contract on real servers: the tests of the embedded stores, unchanged."""

from tests.contract.test_resources import *  # noqa: F403
