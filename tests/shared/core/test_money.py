"""Amounts as decimal numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.money import CURRENCIES, MAX_MINOR_UNITS, decimal_text, decimals


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (0, "BRL", "0.00"),
        (5, "BRL", "0.05"),
        (-5, "BRL", "-0.05"),
        (123450, "BRL", "1234.50"),
        (-1050, "USD", "-10.50"),
        (1050, "JPY", "1050"),
        (-1, "JPY", "-1"),
        (1050, "KWD", "1.050"),
        (MAX_MINOR_UNITS, "BRL", "92233720368547758.07"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(value: int, currency: str, text: str) -> None:
    """Minor units become a decimal number with the places of ISO 4217: two, or none, or three."""
    assert decimal_text(value, currency) == text


@given(st.integers(-MAX_MINOR_UNITS, MAX_MINOR_UNITS), st.sampled_from(sorted(CURRENCIES)))
def test_a_decimal_number_is_the_amount(value: int, currency: str) -> None:
    """The decimal number of any amount, times the minor units of a unit, is the amount."""
    assert int(Decimal(decimal_text(value, currency)).scaleb(decimals(currency))) == value
