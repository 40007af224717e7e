"""The bodies of the commands that the tests of the invariants send."""

from __future__ import annotations

from typing import Any


def brl(value: int) -> dict[str, Any]:
    """Return an amount in BRL as the API writes it."""
    return {"value": value, "currency": "BRL"}


def payment(payer: str, payee: str, amount: int, **more: Any) -> dict[str, Any]:
    """Return the command of a payment."""
    return {
        "amount": brl(amount),
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
        **more,
    }


def cpf(number: int) -> str:
    """Return the `number`-th CPF of a series, with its check digits (modulus 11)."""
    digits = [int(digit) for digit in f"{number + 100:09d}"]
    for _ in range(2):
        rest = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))
