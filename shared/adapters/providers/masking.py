"""Masks personal data in what a provider was sent and has answered, before it is stored."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

_SHOWN: Final = 4
_MASK: Final = "***"


class PersonalNames(NamedTuple):
    """The names of the members of a provider's JSON that have personal data."""

    texts: frozenset[str]
    """Texts that are personal data themselves."""
    persons: frozenset[str]
    """Objects that describe a person: every text in them is masked."""


def masked(value: Any, names: PersonalNames, *, is_person: bool = False) -> Any:
    """Return a JSON value with `***` for personal data; the last four characters of a longer text stay."""
    if isinstance(value, list):
        return [masked(item, names, is_person=is_person) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _masked_member(name, member, names, is_person=is_person) for name, member in value.items()}


def _masked_member(name: str, member: Any, names: PersonalNames, *, is_person: bool) -> Any:
    if isinstance(member, str) and (is_person or name in names.texts):
        return _MASK + (member[-_SHOWN:] if len(member) > 2 * _SHOWN else "")
    return masked(member, names, is_person=is_person or name in names.persons)
