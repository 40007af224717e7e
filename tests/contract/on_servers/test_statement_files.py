"""Statements as files on real servers: the tests of the embedded stores, unchanged."""

from tests.contract.test_statement_files import *  # noqa: F403
