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
    """Every legal key is itself, bare or quoted."""
    assert parse_key(key) == key
    assert parse_key(f'"{key}"') == key


def test_a_key_has_at_most_255_characters() -> None:
    """The quotes do not count."""
    assert parse_key('"' + "k" * 255 + '"') == "k" * 255
    for too_long in ("k" * 256, '"' + "k" * 256 + '"'):
        with pytest.raises(Problem, match="malformed_request"):
            parse_key(too_long)


@pytest.mark.parametrize(
    "value", ["", '"', '""', '"a', 'a"', 'a"b', '""a""', '"a";x=1', "a b", " a", "a\n", "a\t", "é", "a\x7f", "a\x00"]
)
def test_a_malformed_key_is_refused(value: str) -> None:
    """Spaces, inner quotes, controls and letters beyond ASCII are no key."""
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
    """Another tenant, method, path or key is another record, even with a line break in the path."""
    assert record_id(*scopes[0]) != record_id(*scopes[1])


def test_a_record_is_found_again_by_another_process() -> None:
    """The id is derived from the scope alone."""
    assert record_id("demo", "POST", "/v1/payments", "k") == "idem_5b07f34850d449cbb2d2a8a1f403e234"


@pytest.mark.parametrize("sent", ["a", "A.b_c:d-9", "x" * 128])
def test_a_request_id_of_the_right_form_is_kept(sent: str) -> None:
    """The client's own id goes through unchanged."""
    assert request_id_of(sent, Random(1)) == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a/b", "é", "a\n", "{}"])
def test_any_other_request_id_is_replaced(sent: str | None) -> None:
    """Absent or of another form: one is made, by the given source of randomness."""
    made = request_id_of(sent, Random(1))
    assert made == request_id_of(None, Random(1))
    assert made != request_id_of(None, Random(2))
    assert request_id_of(made, Random(3)) == made
