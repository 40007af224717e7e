"""The amounts and the currency of the card gateway."""

from __future__ import annotations

from typing import Final

CURRENCY: Final = "BRL"
MAX_AMOUNT: Final = 999_999_999_999
"""The greatest amount of a card message: twelve digits (ISO 8583, field 4)."""
