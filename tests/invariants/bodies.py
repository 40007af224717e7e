"""The bodies of the commands that the tests of the invariants send."""

from __future__ import annotations

from typing import Any, Final

DEBTOR: Final = {"name": "Bia Lima", "document": {"type": "cpf", "number": "529.982.247-25"}}
"""The debtor of charges with a due date."""


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


def over_rail(
    method: str, account: str, amount: int, *, is_known: bool = True, token: str = "tok_approve"
) -> dict[str, Any]:
    """Return the command of a payment over a rail: out of the account, or from a card to it.

    With `is_known` False its receiver is not known to the rail, or the card's issuer declines it.
    """
    body = {"amount": brl(amount), "method": method}
    if method == "card":
        card = {"token": token if is_known else "tok_insufficient_funds"}
        return {**body, "payee_account_id": account, "card": card}
    if method == "pix":
        key = "ana@example.com" if is_known else "ana@example.invalid"
        return {**body, "payer_account_id": account, "pix": {"key": key}}
    receiver = {
        "bank": "341" if is_known else "000",
        "branch": "1234",
        "number": "1234567-8",
        "type": "checking",
        "holder": {"name": "Ana Souza", "document": {"type": "cpf", "number": "529.982.247-25"}},
    }
    return {**body, "payer_account_id": account, "bank_account": receiver}


def cpf(number: int) -> str:
    """Return the `number`-th CPF of a series, with its check digits (modulus 11)."""
    digits = [int(digit) for digit in f"{number + 100:09d}"]
    for _ in range(2):
        rest = sum(digit * weight for digit, weight in zip(reversed(digits), range(2, 12), strict=False)) % 11
        digits.append(0 if rest < 2 else 11 - rest)
    return "".join(map(str, digits))
