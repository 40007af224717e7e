"""What this store knows of single collections, by their names, to spare itself work. Nothing depends on it but speed.

A collection that is not named here is treated as any other: kept in memory after use, its ids growing with time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Hints(NamedTuple):
    """How a collection is used.

    `read_rarely`: its documents are not worth a place in memory. `grows_by`: its ids grow with time not in the whole
    of a tenant but among those that begin alike, up to this character.
    """

    read_rarely: bool = False
    grows_by: str = ""


NO_HINTS: Final = Hints()

HINTS: Final[Mapping[str, Hints]] = MappingProxyType(
    {
        "idempotency": Hints(read_rarely=True),
        # The id of a line begins with its account's and goes on with the time.
        "statement_lines": Hints(read_rarely=True, grows_by="."),
    }
)
