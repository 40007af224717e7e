"""How PIX writes amounts."""

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
def test_what_is_no_amount_of_the_rail_is_refused(text: str) -> None:
    """The specification's pattern is not anchored; ours is, and zero is no amount."""
    with pytest.raises(ValueError, match=r"like 10\.50"):
        parse_amount(text)


@pytest.mark.parametrize("centavos", [0, -1, MAX_AMOUNT + 1])
def test_what_the_rail_cannot_write_is_not_written(centavos: int) -> None:
    """Zero, less, and what has more than ten digits before the point."""
    with pytest.raises(ValueError, match="centavos"):
        format_amount(centavos)
