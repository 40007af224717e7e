"""Card numbers in texts and JSON values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.card_numbers import (
    holds_card_number,
    names_card_of_a_scheme,
    place_of_card_number,
    without_card_numbers,
)

VISA = "4111111111111111"
NUMBERS = (VISA, "378282246310005", "6011111111111117", "4222222222222", "5555555555554444", "6304000000000000000")
"""Numbers that card schemes publish for tests, of 13 to 19 digits."""


def check_digit(payload: str) -> str:
    """Return the digit that completes a card number, computed by trial."""
    for digit in "0123456789":
        total = 0
        for place, sign in enumerate(reversed(payload + digit)):
            total += sum(divmod(int(sign) * (1 + place % 2), 10))
        if total % 10 == 0:
            return digit
    raise AssertionError(payload)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("shape", ["{}", "my card {} thanks", "n={}.", "a{}b", "tok_{}"])
def test_a_number_of_each_length_is_found(number: str, shape: str) -> None:
    """A card number of 13 to 19 digits is found alone, in a sentence, and between letters."""
    assert holds_card_number(shape.format(number))


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111 - 1111 - 1111 - 1111",
        "4111\u00a01111\u20111111 1111",
        "4111.1111.1111.1111",
        "order 12 4111 1111 1111 1111 12/29",
        "3782 822463 10005",
        "\uff14\uff11\uff11\uff11" + "\uff11" * 12,
        "411111111111111112291234",
    ],
)
def test_a_number_is_found_however_it_is_written(text: str) -> None:
    """Spaces, dashes, dots, digits of other scripts, numbers beside it, and a date after it do not hide a number."""
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "411111111111",
        "0000000000000000",
        "2026-11-26 19:30:00",
        "pay_01jdm9y7w8",
        "",
        "R$ 1.050,00",
    ],
)
def test_what_is_no_card_number_is_not_found(text: str) -> None:
    """A wrong check digit, too few digits, zeros, times, ids and amounts are no card numbers."""
    assert not holds_card_number(text)


def test_an_id_of_the_platform_is_no_card_number() -> None:
    """The digits of an id of the platform are not taken for a card number; those of a longer text are."""
    id = f"acc_{VISA}aaaaaaaaaaaaaaaa"
    assert not holds_card_number(f"to {id}.")
    assert holds_card_number(f"{id}f")
    assert holds_card_number(f"{id} {VISA}")


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"description": f"card {VISA}"}, "/description"),
        ({"metadata": {"note": "x", "pan": VISA}}, "/metadata/pan"),
        ({"card": {"number": int(VISA)}}, "/card/number"),
        ({"card": {"number": float(VISA)}}, "/card/number"),
        ({"items": [1, {"a/b~c": VISA}]}, "/items/1/a~1b~0c"),
        ({"metadata": {VISA: "x"}}, "/metadata"),
        (VISA, ""),
    ],
)
def test_the_place_of_a_number_in_a_json_value(value: Any, pointer: str) -> None:
    """The pointer names the field with the number, also for numbers and names, and never has the number itself."""
    assert place_of_card_number(value) == pointer


def test_a_value_without_a_number_has_no_place() -> None:
    """Texts, numbers, booleans and null without a card number are not reported."""
    assert place_of_card_number({"a": ["text", 12, 1.5, True, None, 1e300, {"b": "2026"}]}) is None


@given(st.text(alphabet="0123456789", min_size=12, max_size=18), st.text(max_size=5), st.sampled_from(["", " ", "-"]))
def test_every_number_with_its_check_digit_is_found_and_masked(payload: str, around: str, separator: str) -> None:
    """Every row of digits with its check digit is found in every surrounding text, and is gone when it is masked."""
    number = payload + check_digit(payload)
    if not number.strip("0"):
        return
    groups = separator.join(number[place : place + 4] for place in range(0, len(number), 4))
    text = f"{around}|{groups}|{around}"
    assert holds_card_number(text)
    assert not holds_card_number(without_card_numbers(text))


def test_a_masked_number_shows_its_last_four_digits() -> None:
    """A masked text keeps what surrounds the numbers and the last four digits of each."""
    text = f"pay {VISA} or 3782-822463-10005, ok"
    assert without_card_numbers(text) == "pay ***1111 or ***0005, ok"


SCHEMES = {
    "Visa": "4111111111111111",
    "Visa of 13 digits": "4222222222222",
    "Mastercard": "5555555555554444",
    "Mastercard since 2017": "2223003122003222",
    "American Express": "378282246310005",
    "Diners Club": "30569309025904",
    "JCB": "3530111333300000",
    "Discover": "6011111111111117",
    "Elo": "6362970000457013",
    "Hipercard": "6062826786276634",
    "Maestro": "6304000000000000000",
}
"""Numbers that card schemes and gateways publish for tests."""


@pytest.mark.parametrize("number", SCHEMES.values(), ids=SCHEMES.keys())
@pytest.mark.parametrize("shape", ["{}", "my card {} thanks", "n={}.", "order 12: {} 12/29"])
def test_a_number_of_each_scheme_is_found_in_a_text(number: str, shape: str) -> None:
    """A number of a card scheme is found in a text for people, also in groups of four."""
    assert names_card_of_a_scheme(shape.format(number))
    groups = " ".join(number[place : place + 4] for place in range(0, len(number), 4))
    assert names_card_of_a_scheme(shape.format(groups))


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "a4111111111111111b",
        "tok_4111111111111111x",
        "1111111111111117",
        "8000000000000000006",
        "+55 11 98765-4321",
        "5511987654321",
        "2026-11-26 23:21:12.123456",
        "41111111-1111-4111-8111-111111111111",
        "acc_41111111111111111111111111111111",
    ],
)
def test_other_long_numbers_pass_in_a_text(text: str) -> None:
    """Ids, UUIDs, phone numbers, times and numbers that no scheme issues are not taken for cards of a scheme."""
    assert not names_card_of_a_scheme(text)


@given(st.text(max_size=200))
def test_a_card_of_a_scheme_is_a_card_number(text: str) -> None:
    """What is a card of a scheme is a card number by the wider rule, too."""
    assert holds_card_number(text) or not names_card_of_a_scheme(text)
