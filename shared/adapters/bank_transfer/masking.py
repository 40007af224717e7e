"""Masks personal data in what a partner bank was sent and has answered, before it is stored."""

from __future__ import annotations

from typing import Any, Final

from shared.adapters.providers import masking

_NAMES: Final = masking.PersonalNames(texts=frozenset(), persons=frozenset({"creditor", "debtor"}))


def masked(value: Any) -> Any:
    """Return a JSON value with `***` for personal data; the last four characters of a longer text stay."""
    return masking.masked(value, _NAMES)
