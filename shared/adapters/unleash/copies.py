"""The copy of the last state of the flags, for a process that starts while Unleash is away: a file, or in the cache."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import orjson

from shared.adapters.unleash.address import Address
from shared.ports.cache import Cache

TTL_SECONDS: Final = 30 * 24 * 3600
"""How long the copy in the cache is kept. Each process that starts renews it."""


class Copy(NamedTuple):
    """A state: where it was read from, and when."""

    server: str
    scope: str
    read_at: str
    text: str


class Copies(Protocol):
    """Where the copy is."""

    name: str
    """The place, for messages."""

    async def load(self) -> Copy | None:
        """Return the copy, or None without one. Raises ValueError for a damaged copy, OSError or Unavailable."""
        ...

    async def save(self, copy: Copy) -> None:
        """Replace the copy. Raises OSError or Unavailable."""
        ...


class FileCopies:
    """The copy in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    async def load(self) -> Copy | None:
        """Return the copy in the file."""
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return _decoded(raw)

    async def save(self, copy: Copy) -> None:
        """Replace the file. A crash leaves the old or the new one, or after a loss of power a damaged one.

        It is not flushed to the disk: a lost copy is read from the server again.
        """
        path = self._path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{os.getpid()}.new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(copy._asdict()))
        aside.replace(path)


class CacheCopies:
    """The copy in the cache, which all processes share: for pods, whose file system is new and read-only."""

    name = "the copy of the flags in the cache"

    def __init__(self, cache: Cache, address: Address) -> None:
        self._cache = cache
        self._key = f"flags/{sha256(f'{address.url} {address.scope}'.encode()).hexdigest()[:32]}"

    async def load(self) -> Copy | None:
        """Return the copy in the cache."""
        raw = await self._cache.get(self._key)
        return None if raw is None else _decoded(raw)

    async def save(self, copy: Copy) -> None:
        """Replace the copy in the cache."""
        await self._cache.set(self._key, orjson.dumps(copy._asdict()), TTL_SECONDS)


def _decoded(raw: bytes) -> Copy:
    fields: Any = orjson.loads(raw)
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in Copy._fields):
        raise ValueError("it is not a copy of flags")
    return Copy(**{name: fields[name] for name in Copy._fields})
