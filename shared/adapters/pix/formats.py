"""The formats of amounts and ids on the PIX rail (Banco Central do Brasil, API Pix 2.9)."""

from __future__ import annotations

import re
from typing import Final

CURRENCY: Final = "BRL"
MAX_AMOUNT: Final = 999_999_999_999
"""The greatest amount that the format allows, in centavos: ten digits before the point."""

TXID_PATTERN: Final = r"^[a-zA-Z0-9]{26,35}$"
END_TO_END_PATTERN: Final = r"^[a-zA-Z0-9]{32}$"
RETURN_PATTERN: Final = r"^D[0-9A-Z]{8}[0-9]{12}[a-zA-Z0-9]{11}$"
"""A RtrId: the id of a return in the SPI (pacs.004), with the ISPB of its sender and the minute in UTC."""
DEPOSIT_NOTE: Final = {"nome": "Operação", "valor": "Depósito"}
"""The additional information (`infoAdicionais`) in the charge of a deposit, which the payer sees."""
# The pattern of the specification, with anchors added.
_AMOUNT: Final = re.compile(r"([0-9]{1,10})\.([0-9]{2})")


def format_amount(centavos: int) -> str:
    """Return the rail's text for an amount in centavos: 1050 gives `10.50`. Raises ValueError outside 1 to
    MAX_AMOUNT."""
    if not 1 <= centavos <= MAX_AMOUNT:
        raise ValueError(f"{centavos} centavos is not an amount that the rail accepts")
    return f"{centavos // 100}.{centavos % 100:02d}"


def parse_amount(text: str) -> int:
    """Return the amount, in centavos, that the rail's text means. Raises ValueError for another format, and for
    zero."""
    match = _AMOUNT.fullmatch(text)
    if match is None or (centavos := int(match[1] + match[2])) == 0:
        raise ValueError("an amount is written like 10.50, and is more than zero")
    return centavos


def checked_amount(text: str) -> str:
    """Return the text of an amount unchanged. Raises what parse_amount raises."""
    parse_amount(text)
    return text
