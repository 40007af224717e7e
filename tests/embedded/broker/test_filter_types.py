"""The event types that a filter can pass, which the broker determines once for a type and not for each event."""

from __future__ import annotations

from typing import Any

import pytest

from embedded.broker.filters import compile_filter
from shared.core.envelope import Envelope

A, B = {"exact": {"type": "a"}}, {"exact": {"type": "b"}}
CAUSE = {"exact": {"cause": "x"}}


@pytest.mark.parametrize(
    ("filters", "admitted"),
    [
        ([A], "a"),
        ([{"any": [A, B]}], "ab"),
        ([CAUSE, {"any": [A, B]}], "ab"),
        ([{"any": [A, {"all": [B, CAUSE]}]}], "ab"),
        ([{"any": [A, B]}, {"any": [B]}], "b"),
        ([{"any": [A, CAUSE]}], "abc"),
        ([{"not": A}], "bc"),
        ([{"not": CAUSE}], "abc"),
        ([{"prefix": {"type": "a"}}], "a"),
        ([{"suffix": {"type": "b"}}, {"not": {"prefix": {"type": "a"}}}], "b"),
        ([{"prefix": {"type": "a", "causetype": "x"}}], "abc"),
        ([A, B], ""),
        ([A, {"any": [B]}], ""),
        ([], "abc"),
    ],
)
def test_types_that_can_pass(filters: list[dict[str, Any]], admitted: str) -> None:
    """A filter admits a type if an event of the type can pass, whatever its other attributes."""
    compiled = compile_filter(None, filters)

    assert "".join(name for name in "abc" if compiled.admits(name)) == admitted


@pytest.mark.parametrize("cause", ["x", "y", None])
@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize("filters", [[{"any": [A, {"all": [B, CAUSE]}]}], [{"any": [A, B]}, CAUSE], [A, B]])
def test_an_event_that_passes_is_of_an_admitted_type(
    filters: list[dict[str, Any]], name: str, cause: str | None
) -> None:
    """No event passes a filter that does not admit its type."""
    compiled = compile_filter(None, filters)
    extensions = {} if cause is None else {"cause": cause}
    event = Envelope(id="1", source="/s", type=name, subject=None, time=None, extensions=extensions, data=b"{}")

    assert not compiled(event) or compiled.admits(name)


@pytest.mark.parametrize(
    ("filters", "passing"), [([{"any": [A, B]}], "ab"), ([{"any": [A, B]}, A], "a"), ([{"any": [B]}, A], "")]
)
def test_a_choice_of_types_is_settled_by_the_type(filters: list[dict[str, Any]], passing: str) -> None:
    """A filter that names only types passes exactly these types, whatever the other attributes."""
    compiled = compile_filter(None, filters)
    events = [Envelope("1", "/s", name, None, None, {}, data=b"{}") for name in "abc"]

    assert "".join(event.type for event in events if compiled(event)) == passing
    assert compiled.rest is None
