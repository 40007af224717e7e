"""How tests wait: for a condition and long enough, or not by time at all."""

from __future__ import annotations

import asyncio
from typing import Final

PATIENCE_SECONDS: Final = 120.0
"""How long a test waits for what must happen, before it fails: ten times what the slowest step needs here."""
_TURNS: Final = 200


async def rest() -> None:
    """Let everything happen for which no time has to pass.

    Turns of the event loop are counted instead of seconds, so that as much happens on a slow machine.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
