"""Masks personal data in what a PIX provider was sent and has answered, before it is stored."""

from __future__ import annotations

from typing import Any, Final

_PERSONAL: Final = frozenset({"cpf", "cnpj", "chave", "email", "telefone", "logradouro", "cep", "contaBanco"})
_PERSONS: Final = frozenset({"pagador", "devedor", "recebedor", "favorecido"})
"""Objects that describe a person: every text in them is masked."""
_SHOWN: Final = 4
_MASK: Final = "***"


def masked(value: Any, *, is_person: bool = False) -> Any:
    """Return a JSON value with `***` for personal data; the last four characters of a longer text stay."""
    if isinstance(value, list):
        return [masked(item, is_person=is_person) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _masked_member(name, member, is_person=is_person) for name, member in value.items()}


def _masked_member(name: str, member: Any, *, is_person: bool) -> Any:
    if isinstance(member, str) and (is_person or name in _PERSONAL):
        return _MASK + (member[-_SHOWN:] if len(member) > 2 * _SHOWN else "")
    return masked(member, is_person=is_person or name in _PERSONS)
