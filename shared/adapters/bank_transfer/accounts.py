"""Accounts at banks: the check of their fields, and what is shown of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.adapters.bank_transfer.masking import masked
from shared.core import tax_ids
from shared.ports.rail_payments import InvalidReceiver

_PATTERNS: Final = (
    ("bank", r"[0-9]{3}|[0-9A-Z]{8}", "a bank is three digits (COMPE) or the eight characters of its ISPB"),
    ("branch", r"[0-9]{1,5}", "a branch has one to five digits, without its check digit"),
    ("number", r"[0-9]{1,12}-[0-9X]", "an account number is digits, a hyphen and its check digit, such as 12345-6"),
    ("type", r"checking|savings|payment", "an account is checking, savings or payment"),
    ("holder_name", r"\S(.{0,118}\S)?", "the holder's name has 1 to 120 characters, and no space at its ends"),
    ("holder_document_type", r"cpf|cnpj", "the holder's document is a cpf or a cnpj"),
)
_READERS: Final = {"cpf": tax_ids.cpf, "cnpj": tax_ids.cnpj}
_OPEN: Final = ("bank", "type", "holder_document_type")
"""The fields that are shown as they are. They describe no person."""


def shown_account(receiver: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of an account with personal data masked. Raises InvalidReceiver for a field that is wrong."""
    for field, pattern, rule in _PATTERNS:
        if re.fullmatch(pattern, receiver.get(field, "")) is None:
            raise InvalidReceiver(field, rule)
    document = receiver.get("holder_document", "")
    try:
        number = _READERS[receiver["holder_document_type"]](document)
    except ValueError as error:
        raise InvalidReceiver("holder_document", str(error)) from None
    if number != document:
        raise InvalidReceiver("holder_document", "the document is written without punctuation")
    hidden = masked({"creditor": {name: value for name, value in receiver.items() if name not in _OPEN}})["creditor"]
    return {**hidden, **{name: receiver[name] for name in _OPEN}}
