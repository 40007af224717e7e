"""Hints about the use of single collections, by name. They affect only the speed of the store.

Documents of a collection without hints stay in memory after use, and its ids are expected to increase with time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Hints(NamedTuple):
    """The hints of one collection.

    `read_rarely`: its documents are not cached in memory. `grows_by`: ids increase with time only among ids of a tenant
    with the same prefix, which ends at this character.
    """

    read_rarely: bool = False
    grows_by: str = ""


NO_HINTS: Final = Hints()

HINTS: Final[Mapping[str, Hints]] = MappingProxyType(
    {
        "idempotency": Hints(read_rarely=True),
        # The id of a line is made of the account's id and the time.
        "statement_lines": Hints(read_rarely=True, grows_by="."),
    }
)
