"""The format of PIX amounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.pix.formats import MAX_AMOUNT, format_amount, parse_amount


@given(st.integers(min_value=1, max_value=MAX_AMOUNT))
def test_an_amount_is_read_as_it_was_written(centavos: int) -> None:
    """Writing and reading an amount gives the same one."""
    assert parse_amount(format_amount(centavos)) == centavos


@pytest.mark.parametrize(
    "text",
    ["", "0.00", "1", "1.0", "1.000", "1,00", "-1.00", "+1.00", " 1.00", "1.00\n", "1e2.00", "12345678901.00", "１.00"],
)
def test_an_invalid_amount_text_is_refused(text: str) -> None:
    """A text with other characters around the amount, and zero, are refused."""
    with pytest.raises(ValueError, match=r"like 10\.50"):
        parse_amount(text)


@pytest.mark.parametrize("centavos", [0, -1, MAX_AMOUNT + 1])
def test_an_amount_out_of_range_is_refused(centavos: int) -> None:
    """Zero, a negative amount, and one with more than ten digits before the point are refused."""
    with pytest.raises(ValueError, match="centavos"):
        format_amount(centavos)
