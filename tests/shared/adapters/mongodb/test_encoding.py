"""Documents and events survive BSON exactly."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.mongodb.encoding import decode, decode_event, encode, encode_event, key_of, keys_of
from shared.core.envelope import Envelope
from shared.ports.documents import InvalidWrite
from tests.ports.documents_suite import event

TEXT = st.text()
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | TEXT
KEYS = TEXT | st.sampled_from(["$set", "a.b", "%24", "%", "", "\x00", "$", "ação"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
NAMES = st.text("abcdefgh_", min_size=1, max_size=6).filter(lambda name: name[0] != "_")


def stored(value: Any) -> Any:
    """Return what BSON makes of a value."""
    return bson.decode(bson.encode(value))


@given(fields=st.dictionaries(NAMES, VALUES, max_size=4), id=TEXT, version=st.integers(1, 2**63 - 1))
def test_a_document_round_trips_exactly(fields: dict[str, Any], id: str, version: int) -> None:
    """A document that was encoded, made BSON of, and decoded is the same to the type of each value."""
    document = {**fields, "id": id, "tenant_id": "ten_1", "version": version}
    read = decode(stored(encode(document)))
    assert read == document
    assert types(read) == types(document)


def types(value: Any) -> Any:
    """Return the types of a value and of what is in it."""
    if isinstance(value, dict):
        return {key: types(inner) for key, inner in value.items()}
    return [types(inner) for inner in value] if isinstance(value, list) else type(value)


@given(value=INTEGERS)
def test_an_integer_is_64_bits_wide(value: int) -> None:
    """Every integer is stored with 64 bits, however small: a later increment does not change its type."""
    assert type(stored(encode({"id": "x", "tenant_id": "t", "version": 1, "amount": value}))["amount"]) is Int64


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, b"bytes", {1: "key"}, (1, 2), {"deep": [object()]}])
def test_what_does_not_fit_is_refused(value: Any) -> None:
    """An integer beyond 64 bits, or a value that is not JSON, is an error in the program."""
    with pytest.raises(InvalidWrite):
        encode({"id": "x", "tenant_id": "t", "version": 1, "a": value})


def test_a_tenant_is_a_range_of_keys() -> None:
    """The keys of a tenant's documents are between its bounds, and no other tenant's are, in the order of their ids."""
    below, above = keys_of("ten_1")
    ids = ["", "!", "a", "a/b", "b", "é", "\U0010ffff"]
    keys = [key_of("ten_1", id) for id in ids]
    assert keys == sorted(keys)
    assert all(below <= key < above for key in keys)
    for other in ("ten", "ten_", "ten_10", "ten_1.", "-", "ten_2"):
        assert not any(below <= key_of(other, id) < above for id in ids)
    with pytest.raises(ValueError, match="cannot be the id of a tenant"):
        key_of("ten/1", "x")


@given(data=VALUES, subject=st.none() | TEXT, history=st.none() | TEXT, more=st.dictionaries(KEYS, TEXT))
def test_an_event_round_trips_exactly(
    data: Any, subject: str | None, history: str | None, more: dict[str, str]
) -> None:
    """An event that was stored in the outbox has the same attributes, data, topic and place."""
    sent = event("e1", data=json.dumps(data).encode())
    made = Envelope(
        id="e1",
        source="/lastro/payments/settle",
        type="t",
        subject=subject,
        time=sent.time,
        extensions={**more, **sent.extensions},
        data=sent.data,
    )
    made.history = history
    read = decode_event(stored(encode_event(made)))
    assert read.attributes() == made.attributes()
    assert (read.data, read.topic, read.history) == (made.data, "lastro.payments.v1", history)
    assert read.repeated


def test_data_that_is_not_text_is_refused() -> None:
    """The data of an event is JSON text; other bytes are an error."""
    with pytest.raises(InvalidWrite, match="not UTF-8"):
        encode_event(event("e1", data=b"\xff"))
