"""Idempotency keys, their records' ids, and request ids."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.problems import Problem
from shared.http.idempotency_key import parse_key, record_id
from shared.http.request_id import request_id_of

KEY_CHARACTERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != '"')


@given(st.text(KEY_CHARACTERS, min_size=1, max_size=255))
def test_bare_and_quoted_are_the_same_key(key: str) -> None:
    """A valid key has the same value with and without quotes."""
    assert parse_key(key) == key
    assert parse_key(f'"{key}"') == key


def test_a_key_has_at_most_255_characters() -> None:
    """A key has at most 255 characters, without the quotes."""
    assert parse_key('"' + "k" * 255 + '"') == "k" * 255
    for too_long in ("k" * 256, '"' + "k" * 256 + '"'):
        with pytest.raises(Problem, match="malformed_request"):
            parse_key(too_long)


@pytest.mark.parametrize(
    "value", ["", '"', '""', '"a', 'a"', 'a"b', '""a""', '"a";x=1', "a b", " a", "a\n", "a\t", "é", "a\x7f", "a\x00"]
)
def test_a_malformed_key_is_refused(value: str) -> None:
    """A key with spaces, inner quotes, control or non-ASCII characters is refused."""
    with pytest.raises(Problem, match="malformed_request"):
        parse_key(value)


@given(
    st.lists(
        st.tuples(
            st.text("ab", max_size=2), st.sampled_from(["POST", "PUT"]), st.text("a/\n", max_size=3), st.text("ab")
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_scopes_do_not_share_a_record(scopes: list[tuple[str, str, str, str]]) -> None:
    """Another tenant, method, path or key gives another record, also with a line break in the path."""
    assert record_id(*scopes[0]) != record_id(*scopes[1])


def test_a_record_is_found_again_by_another_process() -> None:
    """The record's id is derived only from the scope, so that another process finds it."""
    assert record_id("demo", "POST", "/v1/payments", "k") == "idem_5b07f34850d449cbb2d2a8a1f403e234"


@pytest.mark.parametrize("sent", ["a", "A.b_c:d-9", "x" * 128])
def test_a_valid_request_id_is_used(sent: str) -> None:
    """A valid request id of the client is used unchanged."""
    assert request_id_of(sent, Random(1)) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a/b", "é", "a\n", "{}"])
def test_any_other_request_id_is_replaced(sent: str | None) -> None:
    """An absent or invalid request id is replaced by a new one from the given source of random numbers."""
    made = request_id_of(sent, Random(1))
    assert made == request_id_of(None, Random(1))
    assert made != request_id_of(None, Random(2))
    assert request_id_of(made, Random(3)) == made
