"""CPF and CNPJ check digits, and contact addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.users._contact import email, phone
from shared.core.tax_ids import cnpj, cpf

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tax_ids.json").read_text())


@pytest.mark.parametrize("number", VECTORS["cpf_valid"])
def test_a_valid_cpf_is_normalised(number: str) -> None:
    """Published numbers are accepted with and without punctuation."""
    assert cpf(number) == number
    assert cpf(f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}") == number


@pytest.mark.parametrize(
    "text",
    [*VECTORS["cpf_invalid"], "", "00000000000", "1114447773", "111444777350", "111.444.77735", " 11144477735",
     "11144477735\n", "١١١٤٤٤٧٧٧٣٥", "1114447773A"],
)  # fmt: skip
def test_an_invalid_cpf_is_refused(text: str) -> None:
    """Wrong check digits, equal digits, other lengths, half punctuation and other scripts are refused."""
    with pytest.raises(ValueError, match="CPF"):
        cpf(text)


@pytest.mark.parametrize("number", VECTORS["cnpj_valid"])
def test_a_valid_cnpj_is_normalised(number: str) -> None:
    """Published numbers, also alphanumeric ones, are accepted with and without punctuation and in lower case."""
    assert cnpj(number) == number
    assert cnpj(f"{number[:2]}.{number[2:5]}.{number[5:8]}/{number[8:12]}-{number[12:]}".lower()) == number


@pytest.mark.parametrize(
    "text",
    ["", "00000000000000", "00000000000192", "12ABC34501DE36", "12ABC34501DEA5", "0000000000019", "000000000001911",
     "00.000.000/000191", "12ÀBC34501DE35", "ı2ABC34501DE35"],
)  # fmt: skip
def test_an_invalid_cnpj_is_refused(text: str) -> None:
    """Wrong or non-numeric check digits, equal digits, other lengths and other letters are refused."""
    with pytest.raises(ValueError, match="CNPJ"):
        cnpj(text)


@given(
    st.sampled_from([(cpf, n) for n in VECTORS["cpf_valid"]] + [(cnpj, n) for n in VECTORS["cnpj_valid"]]), st.data()
)
def test_one_wrong_check_digit_is_refused(case: tuple[object, str], data: st.DataObject) -> None:
    """A number with one changed check digit is refused."""
    check, number = case
    position = data.draw(st.integers(len(number) - 2, len(number) - 1))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != number[position]]))
    with pytest.raises(ValueError, match="check digits"):
        check(number[:position] + digit + number[position + 1 :])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("maria@example.com", "maria@example.com"),
        ("Maria.Silva+loja@Example.COM.br", "Maria.Silva+loja@example.com.br"),
        ("ana@lastro.test", "ana@lastro.test"),
        ("joão@correio.example.org", "joão@correio.example.org"),
    ],
)
def test_an_email_is_normalised(text: str, normalised: str) -> None:
    """The domain of an e-mail address is converted to lower case, and its local part is not changed."""
    assert email(text) == normalised


@pytest.mark.parametrize(
    "text", ["", "maria", "@example.com", "maria@", "a b@example.com", "Maria <maria@example.com>", "maria@localhost",
             "a@b@example.com", "maria@example.com\n", "x" * 65 + "@example.com"],
)  # fmt: skip
def test_a_text_that_is_not_an_email_is_refused(text: str) -> None:
    """Texts with a display name, a local host or white space are refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own words vary with its version
        email(text)


@pytest.mark.parametrize("text", ["+5511987654321", "+55 11 98765-4321", "+55 (11) 98765-4321", "+55.11.98765.4321"])
def test_a_phone_number_is_written_in_e164(text: str) -> None:
    """A telephone number is stored without separators."""
    assert phone(text) == "+5511987654321"


@pytest.mark.parametrize(
    "text", ["", "11987654321", "+", "+55", "+5511", "+999123456789", "+55119876543210987", "+5511ABCDEFGHI",
             "tel:+5511987654321", "+5511987654321 ext. 5", "+5511987654321\n", "+٥٥11987654321"],
)  # fmt: skip
def test_a_text_that_is_not_a_phone_number_is_refused(text: str) -> None:
    """A number without an existing country code or with an impossible length is refused."""
    with pytest.raises(ValueError, match="phone number"):
        phone(text)
