"""Opens an adapter that a test closes elsewhere: at a fixture's end, or in the middle of the test."""

from __future__ import annotations

from typing import TypeVar

from shared.ports.lifecycle import Adapter

A = TypeVar("A", bound=Adapter)


async def open_adapter(adapter: A) -> A:
    """Open an adapter and return it. The caller calls `aclose`."""
    return await adapter.__aenter__()
