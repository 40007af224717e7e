"""Trigger filters, by the CloudEvents Subscriptions API and Knative's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedded.broker.filters import compile_filter
from embedded.manifests.findings import FieldError
from shared.core.envelope import Envelope

EVENT = Envelope(
    id="evt_1",
    source="/lastro/shop/sell",
    type="lastro.order.sold.v1",
    subject="ord_1",
    time="2026-01-01T00:00:00.000000Z",
    extensions={"tenantid": "acme", "causetype": "order", "empty": ""},
    data=b"{}",
)
BARE = Envelope(id="1", source="s", type="t", subject=None, time=None, extensions={}, data=b"{}")
SOLD = {"exact": {"type": "lastro.order.sold.v1"}}
OTHER = {"exact": {"type": "other"}}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([SOLD], True),
        ([OTHER], False),
        ([{"exact": {"type": "lastro.order.sold.v1", "causetype": "order"}}], True),
        ([{"exact": {"type": "lastro.order.sold.v1", "causetype": "gift"}}], False),
        ([{"exact": {"absent": "x"}}], False),
        ([{"prefix": {"type": "lastro.order."}}], True),
        ([{"prefix": {"type": "lastro.user."}}], False),
        ([{"prefix": {"absent": "l"}}], False),
        ([{"suffix": {"type": ".v1"}}], True),
        ([{"suffix": {"type": ".v2"}}], False),
        ([{"suffix": {"absent": ".v1"}}], False),
        ([{"prefix": {"source": "/lastro/", "tenantid": "ac"}}], True),
        ([{"exact": {"specversion": "1.0", "datacontenttype": "application/json"}}], True),
        ([{"exact": {"subject": "ord_1", "id": "evt_1"}}], True),
        ([{"prefix": {"dataschema": "https://lastro.dev/schemas/lastro.order."}}], True),
        ([{"prefix": {"time": "2026-"}}], True),
        ([{"all": [SOLD, {"exact": {"causetype": "order"}}]}], True),
        ([{"all": [SOLD, OTHER]}], False),
        ([{"any": [SOLD, OTHER]}], True),
        ([{"any": [OTHER, {"suffix": {"type": ".v1"}}]}], True),
        ([{"any": [OTHER]}], False),
        ([{"not": OTHER}], True),
        ([{"not": SOLD}], False),
        ([{"not": {"exact": {"absent": "x"}}}], True),
        ([{"not": {"any": [OTHER, {"not": SOLD}]}}], True),
        ([{"any": [{"all": [SOLD, {"not": {"exact": {"causetype": "gift"}}}]}, OTHER]}], True),
        ([SOLD, {"exact": {"tenantid": "acme"}}], True),
        ([SOLD, OTHER], False),
        ([{"any": [{"exact": {"type": "other", "id": "evt_1"}}]}], False),
    ],
)
def test_dialects(filters: list[dict[str, Any]], passes: bool) -> None:
    """Each dialect, also nested, passes and refuses the events that the specification says."""
    assert compile_filter(None, filters)(EVENT) is passes


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        (None, True),
        ({}, True),
        ({"type": "lastro.order.sold.v1"}, True),
        ({"type": "other"}, False),
        ({"type": ""}, True),
        ({"type": "", "causetype": "order"}, True),
        ({"causetype": ""}, True),
        ({"absent": ""}, False),
        ({"empty": ""}, False),
        ({"absent": "x"}, False),
    ],
)
def test_legacy_attributes(attributes: dict[str, str] | None, passes: bool) -> None:
    """The legacy filter compares exactly; an empty value matches any value of a present attribute."""
    assert compile_filter(attributes, [])(EVENT) is passes


def test_filters_override_the_legacy_filter() -> None:
    """When both are set, only `filters` is used."""
    assert compile_filter({"type": "other"}, [SOLD])(EVENT)


def test_an_exact_type_is_known_for_dispatch() -> None:
    """An exact type is used for dispatch and removed from the predicate, also inside `all` but not inside `any`."""
    assert compile_filter({"type": "a"}, []).type == "a"
    assert compile_filter({"type": "a"}, []).rest is None
    nested = compile_filter(None, [{"all": [SOLD, {"exact": {"causetype": "order"}}]}])
    assert nested.type == "lastro.order.sold.v1"
    assert nested.rest is not None
    assert compile_filter(None, [{"any": [SOLD, OTHER]}]).type is None
    assert compile_filter(None, [{"not": SOLD}]).type is None


@pytest.mark.parametrize(
    ("filters", "types"),
    [
        ([SOLD], {"lastro.order.sold.v1"}),
        ([{"any": [SOLD, OTHER]}], {"lastro.order.sold.v1", "other"}),
        ([{"any": [SOLD, {"all": [OTHER, {"exact": {"causetype": "x"}}]}]}], {"lastro.order.sold.v1", "other"}),
        ([SOLD, OTHER], set()),
        ([{"any": [SOLD, OTHER]}, OTHER], {"other"}),
        ([{"any": [SOLD, {"exact": {"causetype": "x"}}]}], None),
        ([{"prefix": {"type": "lastro."}}], None),
        ([{"not": SOLD}], None),
        ([{"exact": {"causetype": "order"}}], None),
        ([], None),
    ],
)
def test_the_types_that_can_pass_are_known(filters: list[dict[str, Any]], types: set[str] | None) -> None:
    """A filter knows the event types that it can let pass, and None when it names none exactly."""
    assert compile_filter(None, filters).possible_types == types


def test_an_event_without_optional_attributes_fails_every_comparison() -> None:
    """A comparison with an absent subject or time is false and raises no error."""
    for dialect in ("exact", "prefix", "suffix"):
        for name in ("subject", "time", "tenantid"):
            assert not compile_filter(None, [{dialect: {name: "x"}}])(BARE)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ([{"cesql": "type = 'x'"}], "filters.0.cesql"),
        ([SOLD, {"any": [{"cesql": "TRUE"}]}], "filters.1.any.0.cesql"),
        ([{"regex": {"type": ".*"}}], "filters.0.regex: there is no such dialect"),
        ([{"exact": {}}], "filters.0.exact"),
        ([{"exact": {"type": ""}}], "filters.0.exact.type"),
        ([{"exact": {"type": 1}}], "filters.0.exact.type"),
        ([{"exact": {"Type": "a"}}], "filters.0.exact.Type: it is not the name of an attribute"),
        ([{"any": [SOLD, {"prefix": {"tenant-id": "a"}}]}], "filters.0.any.1.prefix.tenant-id: it is not the name"),
        ([{"not": {"suffix": {"1st": "a"}}}], "filters.0.not.suffix.1st: it is not the name"),
        ([{"exact": {1: "a"}}], "filters.0.exact.1: it is not the name"),
        ([{"all": []}], "filters.0.all"),
        ([{"any": SOLD}], "filters.0.any"),
        ([{"not": [SOLD]}], "filters.0.not"),
        ([{"exact": {"type": "a"}, "prefix": {"type": "a"}}], "filters.0: a filter is a mapping with one dialect"),
        (["exact"], "filters.0"),
    ],
)
def test_an_invalid_filter_is_refused(filters: list[Any], message: str) -> None:
    """A filter of unknown or invalid form is refused with the name of its field."""
    with pytest.raises(FieldError) as refused:
        compile_filter(None, filters)
    assert message in str(refused.value)


_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["type", "id", "subject", "tenantid", "absent"]), st.text("ab", min_size=1, max_size=2), min_size=1
)
_LEAVES = st.builds(
    lambda dialect, value: {dialect: value}, st.sampled_from(["exact", "prefix", "suffix"]), _ATTRIBUTES
)
_FILTERS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda entries: {"all": entries}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda entries: {"any": entries}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda entry: {"not": entry}, inner),
    ),
    max_leaves=8,
)
_TEXT = st.text("ab", min_size=1, max_size=2)


def _reference(entry: dict[str, Any], attributes: dict[str, str]) -> bool:
    ((dialect, value),) = entry.items()
    if dialect == "all":
        return all(_reference(inner, attributes) for inner in value)
    if dialect == "any":
        return any(_reference(inner, attributes) for inner in value)
    if dialect == "not":
        return not _reference(value, attributes)
    comparisons: dict[str, Callable[[str, str], bool]] = {
        "exact": str.__eq__,
        "prefix": str.startswith,
        "suffix": str.endswith,
    }
    compare = comparisons[dialect]
    return all(name in attributes and compare(attributes[name], text) for name, text in value.items())


@given(
    filters=st.lists(_FILTERS, min_size=1, max_size=3), type=_TEXT, id=_TEXT, subject=st.none() | _TEXT, tenant=_TEXT
)
def test_a_compiled_filter_agrees_with_the_definition(
    filters: list[dict[str, Any]], type: str, id: str, subject: str | None, tenant: str
) -> None:
    """For any nesting, the compiled filter passes exactly the events that the definition passes."""
    envelope = Envelope(
        id=id, source="s", type=type, subject=subject, time=None, extensions={"tenantid": tenant}, data=b"{}"
    )
    expected = all(_reference(entry, envelope.attributes()) for entry in filters)
    assert compile_filter(None, filters)(envelope) is expected
