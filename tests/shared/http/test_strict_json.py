"""Strict reading of JSON, and fingerprints."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core.problems import Problem
from shared.http.strict_json import fingerprint, parse

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.text(alphabet=st.sampled_from('ab:"\\{é'), max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def refusal(body: bytes, **options: int) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(body, **options)
    assert caught.value.code == "malformed_request"
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"nul",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1,]",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b'"\x01"',
        b'"\\x41"',
        b"// c\n1",
        "\u0661".encode(),
        b"\xff",
        b'{"a": "\xe9"}',
        b"\xed\xa0\x80",
        b'"\xc0\xaf"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-32-le"),
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800": 1}',
    ],
)
def test_invalid_json_is_refused(body: bytes) -> None:
    """A text that is not JSON (RFC 8259) or not UTF-8 is a malformed request."""
    refusal(body)


def test_the_detail_has_the_place_of_the_error() -> None:
    """The detail of a syntax error has its line and column."""
    assert "line 2, column 1" in refusal(b'{"a": 1\n"b": 2}').detail


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a":1,"a":1}', "/a"),
        (b'{"a":1,"\\u0061":2}', "/a"),
        (b'{"x":[0,{"b":{"c":1,"d":2,"c":3}}]}', "/x/1/b/c"),
        (b'{"a/b~c":1,"a/b~c":2}', "/a~1b~0c"),
        (b'{"":1,"":2}', "/"),
        (b'{"a:b":1,"a\\u003ab":2}', "/a:b"),
        (b'{"a":":","a":"\\u003A"}', "/a"),
        (b'{"a":"x","a":"\\u003A"}', "/a"),
        (b'{"a":{"b:":1},"a":1}', "/a"),
        (b'[{"k":99999999999999999999999,"k":1}]', "/0/k"),
    ],
)
def test_a_repeated_key_is_refused_with_its_pointer(body: bytes, pointer: str) -> None:
    """A repeated key in any notation is refused with its JSON pointer."""
    assert [error.pointer for error in refusal(body).errors] == [pointer]


def test_a_repeated_key_before_another_error_is_refused() -> None:
    """A body with a repeated key and, behind it, a syntax error or a hostile depth is refused for the later one."""
    assert "is not JSON" in refusal(b'[{"a":1,"a":2}, oops]').detail
    assert "levels deep" in refusal(b'[{"a":1,"a":2},' + b"[" * 120_000).detail


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", 2**63),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"18446744073709551616", 2**64),
        (b'{"v":' + b"9" * 300 + b"}", {"v": 10**300 - 1}),
        (b"100.0", 100.0),
        (b"1e2", 100.0),
        (b"-0.0", -0.0),
        (b"true", True),
        (b'"1"', "1"),
    ],
)
def test_numbers_keep_their_type(body: bytes, value: object) -> None:
    """An integer of any size is read as an int and a fraction as a float."""
    parsed = parse(body)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("body", "value"), [(b"1e400", math.inf), (b"-1e400", -math.inf), (b"9" * 5000, math.inf)])
def test_a_number_beyond_every_range_is_no_syntax_error(body: bytes, value: float) -> None:
    """A number beyond the range of floats is read as infinity, so that the field's validation refuses it."""
    assert parse(body) == value


@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_depth_is_bounded(left: bytes, right: bytes) -> None:
    """A value of the greatest allowed depth is read, and one level more is refused."""
    step = left.count(b"[") + left.count(b"{")
    parse(left * (32 // step) + b"1" + right * (32 // step))
    assert "32 levels" in refusal(left * (32 // step) + b"[1]" + right * (32 // step)).detail


@pytest.mark.parametrize("depth", [300, 1_030, 20_000, 120_000])
def test_hostile_depth_is_refused(depth: int) -> None:
    """A depth that would exhaust a parser's stack is refused as any other, with or without closing brackets."""
    refusal(b"[" * depth + b"]" * depth)
    refusal(b'{"a":' * depth + b"1" + b"}" * depth)
    refusal(b"[" * depth)


def test_many_siblings_are_not_deep() -> None:
    """Many sibling objects are read, because only the depth is bounded."""
    assert len(parse(b"[" + b",".join([b'{"a":[]}'] * 500) + b"]")) == 500


@pytest.mark.parametrize(("left", "right"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_depth_is_bounded_in_a_wide_body_too(left: bytes, right: bytes) -> None:
    """Among many siblings the deepest allowed value is read, and one level more is refused."""
    siblings = b'{"b":[],"c":"\\"[{"},' * 500
    times = 30 // (left.count(b"[") + left.count(b"{"))
    deepest = left * times + b"[1]" + right * times
    assert len(parse(b"[" + siblings + deepest + b"]")) == 501
    assert "32 levels" in refusal(b"[" + siblings + b"[" + deepest + b"]]").detail


def test_brackets_in_text_do_not_count() -> None:
    """Brackets inside a string do not count for the depth, also after escaped quotation marks."""
    assert parse(b'{"a":"' + b"[{" * 100 + b'"}') == {"a": "[{" * 100}
    assert parse(b'["' + b'\\"[' * 100 + b'","\\\\",["]"]]') == ['"[' * 100, "\\", ["]"]]


@given(VALUES, st.booleans())
def test_reading_agrees_with_the_standard_library(value: object, ascii_only: bool) -> None:
    """JSON that the standard library writes is read as the same value with the same types."""
    try:
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    if "\\ud" not in repr(value):
        assert repr(parse(body)) == repr(json.loads(body))


def text_of(value: Any) -> str:
    """Return JSON in which a list of pairs is an object, with repeated keys."""
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(key)}:{text_of(child)}" for key, child in value) + "}"
    return json.dumps(value)


PAIRS = st.recursive(
    st.text(alphabet='a:"\\', max_size=3) | st.integers(0, 3),
    lambda inner: st.lists(st.tuples(KEYS, inner), max_size=4).map(tuple),
    max_leaves=10,
)


def has_duplicate(value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    keys = [key for key, _ in value]
    return len(set(keys)) != len(keys) or any(has_duplicate(child) for _, child in value)


@given(PAIRS)
@example((("a", ":"), ("a", "")))
@example((("a:", 1), ("a", ":")))
def test_a_duplicate_is_found_exactly_when_there_is_one(value: object) -> None:
    """The fast check and the full check agree on repeated keys, with any colons in keys and values."""
    body = text_of(value).encode()
    if has_duplicate(value):
        assert refusal(body).errors
    else:
        assert parse(body) == json.loads(body)


def test_a_fingerprint_is_of_the_value() -> None:
    """A fingerprint does not depend on key order, white space and escapes."""
    one = parse(b'{"amount":{"value":1050,"currency":"BRL"},"reference":"caf\xc3\xa9"}')
    other = parse(b'{ "reference" : "caf\\u00e9",\n "amount" : {"currency":"BRL", "value":1050} }')
    assert fingerprint(one) == fingerprint(other)


def test_a_fingerprint_is_fixed() -> None:
    """A fingerprint has the same value in every version, because it is stored for days."""
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert fingerprint({"b": None, "a": [1, 1.5, "x"]}) == fingerprint({"a": [1, 1.5, "x"], "b": None})


SCALAR_LOOKALIKES: tuple[Any, ...] = (1, 1.0, "1", True, None, "null", 0, False, "")
LOOKALIKES: tuple[Any, ...] = (*SCALAR_LOOKALIKES, [], {}, [1], ["1"], {"a": 1}, {"a": None}, {"a": "null"})


def test_values_that_look_alike_differ() -> None:
    """These similar values, huge and infinite numbers and null have different fingerprints."""
    values = (*LOOKALIKES, 2**64, 2**64 + 1, float(2**64), math.inf, -math.inf, [None], [math.inf])
    assert len({fingerprint(value) for value in values}) == len(values)


@given(VALUES, VALUES)
def test_fingerprints_agree_with_values(one: object, other: object) -> None:
    """Two values have one fingerprint exactly when their sorted JSON text is the same."""
    try:
        texts = [json.dumps(value, sort_keys=True) for value in (one, other)]
        prints = [fingerprint(value) for value in (one, other)]
    except UnicodeEncodeError:
        return
    assert (texts[0] == texts[1]) == (prints[0] == prints[1])


@given(st.dictionaries(st.text("abc", max_size=3), st.integers() | st.none(), min_size=2), st.randoms())
def test_a_fingerprint_ignores_key_order(value: dict[str, int | None], random: Any) -> None:
    """Any order of the same members has the same fingerprint."""
    shuffled = list(value.items())
    random.shuffle(shuffled)
    assert fingerprint(dict(shuffled)) == fingerprint(value)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "The body is empty. Send a JSON object."),
        (b'{"a":', "a value is missing or misspelt (line 1, column 6)"),
        (b'{"a":tru}', "a value is missing or misspelt (line 1, column 6)"),
        (b"{'a': 1}", "a name in double quotes is missing (line 1, column 2)"),
        (b"{} {}", "something follows the end of the value (line 1, column 4)"),
        (b'{"a": 01}', "a comma, or the end of the object or list, is missing (line 1, column 8)"),
        (b'{"a" 1}', "a colon is missing (line 1, column 6)"),
        (b'{"a":"\n"}', "a text has a control character that is not escaped (line 1, column 7)"),
        (b'{"a":"\\x"}', "a text has an escape that JSON does not have (line 1, column 7)"),
        (b'{"a":"\\u12"}', "a text has an escape that JSON does not have (line 1, column "),
        (b'{"a":"b', "a text has no closing double quote (line 1, column 6)"),
        (b'[{"a":1,"a":2}, oops]', "a value is missing or misspelt (line 1, column 17)"),
    ],
)
def test_a_body_that_is_not_json_is_refused_with_a_plain_reason(body: bytes, detail: str) -> None:
    """The detail says what is wrong at which place, in words of JSON and not of the parser."""
    assert detail in refusal(body).detail
