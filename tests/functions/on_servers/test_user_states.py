"""The states of users on real servers: the tests of the embedded stores, unchanged."""

from tests.functions.users.test_user_states import *  # noqa: F403
