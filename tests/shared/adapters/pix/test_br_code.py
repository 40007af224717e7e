"""The BR Code: what is written is read, and what is damaged is refused."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.pix.br_code import (
    MAX_CITY,
    MAX_NAME,
    BrCode,
    InvalidBrCode,
    checksum,
    dynamic_code,
    parse_br_code,
    static_code,
)
from shared.adapters.pix.formats import MAX_AMOUNT

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "vectors" / "pix.json").read_text())
LOCATION = "pix.example.com/qr/v2/abcdefghijklmnop"

_words = st.text(string.ascii_letters + string.digits + " -/&é", min_size=1)
names = _words.map(lambda text: text[:MAX_NAME]).filter(bool)
cities = _words.map(lambda text: text[:MAX_CITY]).filter(bool)
alphanumeric = string.ascii_letters + string.digits
locations = st.builds(
    lambda host, path: f"{host}.example/{path}",
    st.text(alphanumeric, min_size=1, max_size=20),
    st.text(alphanumeric + "/-_.", min_size=1, max_size=40),
)
dynamic_codes = st.builds(dynamic_code, locations, names, cities)


def finished(body: str) -> str:
    """Return a code with a correct checksum."""
    return f"{body}6304{checksum(f'{body}6304')}"


def test_the_published_codes_are_read() -> None:
    """Each code of the manual is read, with its key, its location and its amount."""
    read = [parse_br_code(code) for code in VECTORS["br_codes_valid"]]
    key, location = "123e4567-e12b-12d1-a456-426655440000", "pix.example.com/8b3da2f39a4140d1a91abd93113bd441"
    recurrence = "pix.example.com/rec/2353c790eefb11eaadc10242ac120002"
    assert {(code.name, code.city) for code in read} == {("Fulano de Tal", "BRASILIA")}
    assert [(code.key, code.location, code.recurrence, code.amount, code.once) for code in read] == [
        (key, None, None, None, False),
        (None, location, None, None, True),
        (None, None, recurrence, None, False),
        (key, None, recurrence, 10_050, False),
        (None, location, recurrence, None, True),
    ]


def test_the_published_invalid_codes_are_refused() -> None:
    """A published code whose checksum was changed is refused."""
    for vector in VECTORS["br_codes_invalid"]:
        with pytest.raises(InvalidBrCode, match="checksum"):
            parse_br_code(vector["value"])


@given(locations, names, cities)
def test_a_dynamic_code_is_read_as_it_was_written(location: str, name: str, city: str) -> None:
    """Reading a dynamic code gives its location, name and city; it is to be paid once."""
    assert parse_br_code(dynamic_code(location, name, city)) == BrCode(name, city, location=location, once=True)


@given(
    st.text(alphanumeric + "@.+-", min_size=1, max_size=30),
    names,
    cities,
    st.none() | st.integers(1, MAX_AMOUNT),
    st.none() | st.text(alphanumeric, min_size=1, max_size=25),
    st.text(alphanumeric + " ", max_size=30),
)
def test_a_static_code_is_read_as_it_was_written(
    key: str, name: str, city: str, amount: int | None, txid: str | None, information: str
) -> None:
    """Reading a static code gives its key, amount, txid and information."""
    code = static_code(key, name, city, amount=amount, txid=txid, information=information)
    wanted = BrCode(name, city, key=key, amount=amount, txid=txid, information=information or None)
    assert parse_br_code(code) == wanted


@given(dynamic_codes, st.data())
def test_every_prefix_of_a_code_is_refused(code: str, data: st.DataObject) -> None:
    """A code that lacks any number of its last characters is refused."""
    with pytest.raises(InvalidBrCode):
        parse_br_code(code[: data.draw(st.integers(0, len(code) - 1))])


@given(dynamic_codes, st.data())
def test_a_code_with_another_character_is_refused(code: str, data: st.DataObject) -> None:
    """A code in which one character was replaced by another is refused: the checksum finds it."""
    place = data.draw(st.integers(0, len(code) - 1))
    other = data.draw(st.sampled_from(string.ascii_uppercase + string.digits).filter(lambda sign: sign != code[place]))
    with pytest.raises(InvalidBrCode):
        parse_br_code(code[:place] + other + code[place + 1 :])


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """A text that is not a code is refused with InvalidBrCode, whatever it is; so is one with a correct checksum."""
    for candidate in (text, finished(text.encode("utf-8", "ignore").decode())):
        with pytest.raises(InvalidBrCode):
            parse_br_code(candidate)


def test_a_checksum_that_has_lost_its_leading_zero_is_refused() -> None:
    """A checksum of three digits is refused, although some banks accept it (pix-api, issue 189)."""
    codes = (dynamic_code(f"{LOCATION}{number}", "Lastro", "SAO PAULO") for number in range(10_000))
    code = next(code for code in codes if code[-4] == "0")
    with pytest.raises(InvalidBrCode, match="four hexadecimal digits"):
        parse_br_code(code[:-4] + code[-3:])


_PIX = "0014br.gov.bcb.pix"
_KEY = f"2624{_PIX}0102ab"
_REST = "5204000053039865802BR5901A6001B"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{_KEY}{_REST}", "begins with"),
        (f"000202{_KEY}{_REST}", "format indicator"),
        (f"000201{_KEY}{_KEY}{_REST}", "twice"),
        (f"000201{_REST}", "one template"),
        (f"000201{_KEY}2724{_PIX}0102cd{_REST}", "one template"),
        (f"0002012618{_PIX}{_REST}", "neither a key nor a location"),
        (f"0002012634{_PIX}0102ab2506a.bc/d{_REST}", "both"),
        (f"0002012625{_PIX}2503a b{_REST}", "a location is"),
        (f"000201{_KEY}5204000053038405802BR5901A6001B", "field 53"),
        (f"000201{_KEY}5204000053039865802AR5901A6001B", "field 58"),
        (f"000201{_KEY}5204000053039865802BR6001B", "field 59"),
        (f"000201{_KEY}5204000053039865802BR5901A6016{'B' * 16}", "field 60"),
        (f"000201{_KEY}530398654040.005802BR5901A6001B", "field 54"),
        (f"000201{_KEY}{_REST}x9", "no field at character"),
        (f"000201{_KEY}{_REST}9900", "length that it states"),
        (f"000201{_KEY}{_REST}6299x", "length that it states"),
    ],
)
def test_a_code_with_a_wrong_field_is_refused(body: str, reason: str) -> None:
    """A code with a correct checksum and a wrong field is refused, and the message says which."""
    with pytest.raises(InvalidBrCode, match=reason):
        parse_br_code(finished(body))


def test_a_code_that_is_too_long_is_refused() -> None:
    """A text of more than 512 characters is refused before it is read."""
    with pytest.raises(InvalidBrCode, match="512"):
        parse_br_code("0" * 513)


@pytest.mark.parametrize(
    ("location", "name", "city"),
    [
        ("https://pix.example.com/1", "A", "B"),
        ("pix.example.com", "A", "B"),
        (f"pix.example.com/{'a' * 62}", "A", "B"),
        (LOCATION, "", "B"),
        (LOCATION, "A" * 26, "B"),
        (LOCATION, "A", "B" * 16),
        (LOCATION, "A\n", "B"),
    ],
)
def test_values_that_do_not_fit_are_not_written(location: str, name: str, city: str) -> None:
    """A location with a scheme or that is too long, and a name or city that is too long, are refused."""
    with pytest.raises(ValueError, match=r"location|name|city"):
        dynamic_code(location, name, city)


@pytest.mark.parametrize("fields", [{"txid": "a" * 26}, {"txid": "a-b"}, {"amount": 0}, {"information": "i" * 60}])
def test_values_that_do_not_fit_a_static_code_are_not_written(fields: dict[str, Any]) -> None:
    """A txid that is too long, an amount of zero, and a template that is too long are refused."""
    with pytest.raises(ValueError, match=r"txid|centavos|characters"):
        static_code("k" * 30, "A", "B", **fields)


@pytest.mark.parametrize("key", ["", "k" * 78])
def test_a_key_that_does_not_fit_is_not_written(key: str) -> None:
    """An empty key and one of more than 77 characters are refused."""
    with pytest.raises(ValueError, match="key"):
        static_code(key, "A", "B")
