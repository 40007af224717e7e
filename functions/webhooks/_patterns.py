"""Which events an endpoint wants: types, `prefix.*` or `*`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

PATTERN: Final = re.compile(r"\*|(?:[a-z0-9_]+\.)+(?:[a-z0-9_]+|\*)")
UNSENT: Final = frozenset(
    {"lastro.webhook.delivery_due.v1", "lastro.webhook.delivered.v1", "lastro.webhook.exhausted.v1"}
)
"""The facts about deliveries. They are never delivered: each delivery would cause another, without end."""


def matches(patterns: Sequence[str], type: str) -> bool:
    """Return whether one of the patterns stands for an event type."""
    return any(
        pattern in ("*", type) or (pattern.endswith(".*") and type.startswith(pattern[:-1])) for pattern in patterns
    )
