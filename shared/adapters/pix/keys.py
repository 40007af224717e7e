"""PIX keys: which kinds there are, and what may be shown of one (Banco Central do Brasil, DICT API).

Only the form is checked. Check digits are not: the rail's own examples fail them, and DICT knows which keys exist.
"""

from __future__ import annotations

import re
from typing import Final, Literal

KeyKind = Literal["cpf", "cnpj", "phone", "email", "evp"]

_KINDS: Final[tuple[tuple[KeyKind, re.Pattern[str]], ...]] = (
    ("cpf", re.compile(r"[0-9]{11}")),
    ("cnpj", re.compile(r"[0-9A-Z]{12}[0-9]{2}")),
    ("phone", re.compile(r"\+[1-9][0-9]{2,14}")),
    ("evp", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")),
    ("email", re.compile(r"[a-z0-9.!#$&'*+/=?^_`{|}~-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*")),
)
_MAX_EMAIL: Final = 77
_MASK: Final = "***"


def key_kind(key: str) -> KeyKind | None:
    """Return the kind of a key, or None for a text that is no key. Letters of an e-mail address and of a random key are
    lower case."""
    if len(key) > _MAX_EMAIL:
        return None
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(key)), None)


def masked_key(key: str) -> str:
    """Return a key as it may be shown and logged: `***` and its last four characters.

    Of an e-mail address only its domain stays, and a random key names no person and stays whole.
    """
    kind = key_kind(key)
    if kind == "evp":
        return key
    if kind == "email":
        return f"{_MASK}@{key.rpartition('@')[2]}"
    return f"{_MASK}{key[-4:]}"
