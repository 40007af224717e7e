"""Query strings are parsed strictly."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Problem
from shared.http.query_string import parse_query

_TEXTS = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(_TEXTS, _TEXTS))
def test_what_is_encoded_is_decoded(parameters: dict[str, str]) -> None:
    """The parameters of an encoded form are decoded to their values."""
    assert parse_query(urlencode(parameters)) == parameters


@given(st.text(st.characters(max_codepoint=255)))
def test_any_bytes_are_parsed_or_refused(raw: str) -> None:
    """Any query string is parsed or refused as a malformed request."""
    try:
        parameters, code = parse_query(raw), None
    except Problem as problem:
        parameters, code = {}, problem.code
    assert code in (None, "malformed_request")
    assert all(isinstance(text, str) for pair in parameters.items() for text in pair)


def test_escapes_and_plus_signs_are_decoded_once() -> None:
    """`%25` stands for a percent sign, `+` for a space; empty pieces are skipped and a value may be missing."""
    assert parse_query("a=1&b=x%20y+z&&c&d=%2525") == {"a": "1", "b": "x y z", "c": "", "d": "%25"}
    assert parse_query("") == {}
    assert parse_query("a=é".encode().decode("latin-1")) == {"a": "é"}


@pytest.mark.parametrize("raw", ["a=1&a=2", "a=1&%61=2", "a=%zz", "a=%f", "a=%", "%=1", "a=%ff", "a=é", "a=%ED%A0%80"])
def test_an_ambiguous_query_string_is_refused(raw: str) -> None:
    """A repeated parameter, a broken escape and bytes that are not UTF-8 are malformed requests."""
    with pytest.raises(Problem) as caught:
        parse_query(raw)
    assert caught.value.code == "malformed_request"


def test_a_repeated_parameter_is_named() -> None:
    """The error of a repeated parameter names it."""
    with pytest.raises(Problem) as caught:
        parse_query("limit=1&limit=2")
    assert [error.parameter for error in caught.value.errors] == ["limit"]
