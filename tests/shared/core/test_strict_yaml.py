"""YAML without repeated keys, with the line of every field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.strict_yaml import YamlError, read_value, read_values, read_yaml

TEXT = """\
# a comment
kind: Trigger
spec:
  filters:
    - exact: {type: a}
    - any:
        - exact:
            type: b
---
kind: Broker
"""


def test_each_document_is_read_with_its_places() -> None:
    """Documents are read as Python values, and the line of a field is the line of its key."""
    trigger, broker = read_yaml(TEXT)
    assert trigger.value["spec"]["filters"][1] == {"any": [{"exact": {"type": "b"}}]}
    assert broker.value == {"kind": "Broker"}
    assert trigger.line() == 2
    assert trigger.line(("spec",)) == 3
    assert trigger.line(("spec", "filters", 0)) == 5
    assert trigger.line(("spec", "filters", 1, "any", 0, "exact", "type")) == 8
    assert broker.line(("kind",)) == 10


def test_a_missing_field_has_the_line_of_its_parent() -> None:
    """The line of a missing field is the line of its parent."""
    (trigger, _) = read_yaml(TEXT)
    assert trigger.line(("spec", "delivery", "retry")) == 3
    assert trigger.line(("spec", "filters", 7)) == 4
    assert trigger.line(("metadata", "name")) == 2


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is here and on line 1"),
        ("x:\n  - a: 1\n    'a': 2", 3, "the key 'a' is here and on line 2"),
        ("a: 1\n---\nb: {c: 1, d: 2, c: 3}", 3, "the key 'c' is here and on line 3"),
        ("1: a\n0x1: b", 2, "the key 1 is here and on line 1"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  <<: *x", 4, "the key '<<' is here and on line 3"),
        ("? {a: 1}\n: b", 1, "a key is a mapping or a list"),
        ("a: [", 1, "did not find expected node content"),
        ("a: 1\n b: 2", 2, "mapping values are not allowed"),
        ("a: 1\nb: \x00", 2, "U\\+0000"),
        ("a: !!python/object:os.system x", 1, "could not determine a constructor"),
        ("a: *nowhere", 1, "undefined alias"),
    ],
)
def test_repeated_keys_and_invalid_yaml_are_refused_with_the_line(text: str, line: int, reason: str) -> None:
    """A repeated key is refused in any document, at any depth and in any notation, with its line."""
    with pytest.raises(YamlError, match=reason) as refused:
        read_yaml(text)
    assert refused.value.line == line


def test_an_alias_is_looked_at_once() -> None:
    """Nested or recursive aliases are read in time proportional to the text."""
    doubled = "\n".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))
    (document,) = read_yaml(f"a0: &a0 [1]\n{doubled}\nself: &self [*self]")
    assert document.value["a1"] == [[1], [1]]


def test_an_empty_text_has_no_document() -> None:
    """An empty text has no document; an empty document has the value None."""
    assert read_yaml("") == []
    assert [document.value for document in read_yaml("---\n---\na: 1")] == [None, {"a": 1}]


@given(st.text(max_size=60))
def test_any_text_is_yaml_or_an_error_with_a_line(text: str) -> None:
    """Any text is read, or refused with an error that has a line."""
    try:
        read_yaml(text)
    except YamlError as error:
        line = error.line
    else:
        line = 1
    assert 1 <= line <= text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + 2


def test_values_are_those_of_the_documents() -> None:
    """A reader without line numbers gets the value of each document, None for an empty one."""
    assert read_values("a: 1\n---\n---\n[2]\n") == [{"a": 1}, None, [2]]
    assert read_value("a: {b: 1}\n") == {"a": {"b": 1}}


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a: 1\n---\nb: 2\n", 2)])
def test_one_document_is_required(text: str, count: int) -> None:
    """A text with no document, or with several, is refused where one is read."""
    with pytest.raises(YamlError, match=f"there are {count} documents; it must be one"):
        read_value(text)
