"""Printing: JSON for programs, tables and colours for people."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console


_PIPE_COLUMNS: Final = 200


def console() -> Console:
    """Return the console for text on standard output. In a pipe lines are not wrapped, so that grep works."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_COLUMNS
    return Console(highlight=False, soft_wrap=True, width=width)


def say(text: str) -> None:
    """Print a remark to standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON to standard output."""
    print(json.dumps(value, indent=indent, ensure_ascii=False), flush=True)


def money(amount: dict[str, Any]) -> str:
    """Return an amount as text: `10.50 BRL`. Currencies without two decimals are shown in minor units."""
    value, currency = int(amount["value"]), str(amount["currency"])
    if currency in _NOT_CENTS:
        return f"{value} {currency} (minor units)"
    sign = "-" if value < 0 else ""
    return f"{sign}{abs(value) // 100:,}.{abs(value) % 100:02d} {currency}"


# ISO 4217: currencies whose minor unit is not a hundredth.
_NOT_CENTS = frozenset(
    "BHD BIF CLP DJF GNF IQD ISK JOD JPY KMF KRW KWD LYD OMR PYG RWF TND UGX VND VUV XAF XOF XPF".split()
)
