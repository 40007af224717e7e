"""Brazilian taxpayer numbers: CPF of persons and CNPJ of companies, with their check digits.

The CNPJ is alphanumeric since July 2026 (Receita Federal, IN RFB 2.229/2024): the value of a character is its ASCII
code minus 48, so the check digits of numeric CNPJs are unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import cycle
from typing import Final

_CPF: Final = re.compile(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}|[0-9]{11}")
_CNPJ: Final = re.compile(r"[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-[0-9]{2}|[0-9A-Z]{12}[0-9]{2}", re.ASCII)
_PUNCTUATION: Final = str.maketrans("", "", "./-")


def cpf(text: str) -> str:
    """Return the eleven digits of a CPF. The text is eleven digits or has the form 000.000.000-00.

    Raises ValueError when the text is not a CPF.
    """
    if _CPF.fullmatch(text) is None:
        raise ValueError("a CPF has eleven digits")
    number = text.translate(_PUNCTUATION)
    # Eleven equal digits have valid check digits, but such a CPF is never issued.
    if len(set(number)) == 1 or _check_digits(number[:9], range(2, 12)) != number[9:]:
        raise ValueError("the check digits of the CPF are not correct")
    return number


def cnpj(text: str) -> str:
    """Return the fourteen characters of a CNPJ, in capitals. The text has them bare or in the form 00.000.000/0000-00.

    Raises ValueError when the text is not a CNPJ.
    """
    capitals = text.upper() if text.isascii() else text
    if _CNPJ.fullmatch(capitals) is None:
        raise ValueError("a CNPJ has twelve digits or letters and two check digits")
    number = capitals.translate(_PUNCTUATION)
    if len(set(number)) == 1 or _check_digits(number[:12], range(2, 10)) != number[12:]:
        raise ValueError("the check digits of the CNPJ are not correct")
    return number


def _check_digits(base: str, weights: Iterable[int]) -> str:
    """Return two check digits by modulus 11. Weights cycle from the right; the second digit covers the first, too."""
    repeated = list(weights)
    number = base
    for _ in range(2):
        total = sum((ord(char) - 48) * weight for char, weight in zip(reversed(number), cycle(repeated), strict=False))
        rest = total % 11
        number += "0" if rest < 2 else str(11 - rest)
    return number[len(base) :]
