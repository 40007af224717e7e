"""One change of a migration, and the refusal of a database that a migration cannot change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class WrongSchema(Exception):
    """The database has no schema, or one that this version cannot use. The text has the remedy."""


class Step(NamedTuple):
    """One change of the database: its description, and the call that makes it."""

    text: str
    run: Callable[[], Awaitable[object]]
