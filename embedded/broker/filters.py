"""Trigger filters, compiled to plain functions over an envelope.

Semantics: the filter dialects of the CloudEvents Subscriptions API (§3.2.4), as Knative Eventing implements them. An
attribute that is not set does not match `exact`, `prefix` and `suffix`. In the older `filter.attributes` the empty text
means "any value". `cesql` is refused: no maintained Python implementation of it exists (docs/decisions/0008), and
ignoring a filter would deliver events that the Trigger excludes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from embedded.manifests.eventing import NO_ATTRIBUTE
from embedded.manifests.findings import FieldError, Path
from embedded.manifests.names import is_attribute_name
from shared.core.envelope import JSON, Envelope

Predicate = Callable[[Envelope], bool]
Getter = Callable[[Envelope], str | None]

_CORE: Final[dict[str, Getter]] = {
    "id": lambda envelope: envelope.id,
    "source": lambda envelope: envelope.source,
    "type": lambda envelope: envelope.type,
    "subject": lambda envelope: envelope.subject,
    "time": lambda envelope: envelope.time,
    "specversion": lambda _envelope: "1.0",
    "datacontenttype": lambda _envelope: JSON,
    "dataschema": lambda envelope: envelope.attributes().get("dataschema"),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter. `type` is the one event type that can pass (None: any), and `rest` tests the other conditions.

    `types` has the event types that can pass when there may be several (None: any). `of_type` tests the conditions on
    the type that name no whole type, such as a prefix.
    """

    type: str | None = None
    rest: Predicate | None = None
    types: frozenset[str] | None = None
    of_type: Predicate | None = None

    def admits(self, type_name: str) -> bool:
        """Return whether events of this type can pass. Called once for each type, not for each event."""
        if self.of_type is not None and not self.of_type(Envelope("", "", type_name, None, None, {})):
            return False
        return (self.type is None or self.type == type_name) and (self.types is None or type_name in self.types)

    @property
    def possible_types(self) -> frozenset[str] | None:
        """The event types that can pass. None when the filter has no condition on the type."""
        if self.type is None:
            return self.types
        return frozenset({self.type}) if self.types is None or self.type in self.types else frozenset()

    def __call__(self, envelope: Envelope) -> bool:
        """Return whether the filter lets the event pass."""
        return self.admits(envelope.type) and (self.rest is None or self.rest(envelope))


def compile_filter(attributes: Mapping[str, str] | None, filters: Sequence[Mapping[str, Any]]) -> Filter:
    """Return the compiled filter of a Trigger: `filters` when there are any, otherwise `filter.attributes`. Raises
    FieldError."""
    parts: list[_Part]
    if filters:
        parts = _conjuncts(filters, ("filters",))
    else:
        wanted = {name: value for name, value in (attributes or {}).items() if value != ""}
        any_value = [name for name, value in (attributes or {}).items() if value == ""]
        # An attribute with the empty value must be present and may have any value.
        parts = [("exact", name, value) for name, value in wanted.items()]
        parts += [("present", name, "") for name in any_value]
    type_name: str | None = None
    predicates: list[Predicate] = []
    of_type: list[Predicate] = []
    if filters:
        # Decided once for each type (Filter.of_type), not for each event.
        of_type = [_predicate(entry, ("filters", n)) for n, entry in enumerate(filters) if _is_about_type(entry)]
        others = [entry for entry in filters if not _is_about_type(entry)]
        parts = _conjuncts(others, ("filters",)) if len(others) < len(filters) else parts
    for part in parts:
        if isinstance(part, frozenset):
            continue  # decided once for each type (Filter.types), not for each event
        name = _only_type(part)
        if name is not None and type_name in (None, name):
            type_name = name
        else:
            predicates.append(_asked(part))
    return Filter(
        type_name,
        _all(predicates) if predicates else None,
        _types_of_all(filters),
        _all(of_type) if of_type else None,
    )


def _is_about_type(entry: Mapping[str, Any]) -> bool:
    """Return whether a valid filter depends on the event's type only, and names no whole type that passes."""
    ((dialect, value),) = entry.items()
    if dialect in ("prefix", "suffix"):
        return set(value) == {"type"}
    if dialect == "not":
        ((inner, operand),) = value.items()
        return set(operand) == {"type"} if inner in ("exact", "prefix", "suffix") else False
    return False


def _types_of_all(filters: Sequence[Mapping[str, Any]]) -> frozenset[str] | None:
    """Return the event types that can pass when all filters must match; None when no filter has a condition on the
    type."""
    possible: frozenset[str] | None = None
    for entry in filters:
        types = _types_of(entry)
        if types is not None:
            possible = types if possible is None else possible & types
    return possible


def _types_of(entry: Mapping[str, Any]) -> frozenset[str] | None:
    ((dialect, value),) = entry.items()
    if dialect == "exact" and "type" in value:
        return frozenset({value["type"]})
    if dialect == "all":
        return _types_of_all(value)
    if dialect == "any":
        alternatives = [_types_of(inner) for inner in value]
        known = [types for types in alternatives if types is not None]
        return frozenset[str]().union(*known) if len(known) == len(alternatives) else None
    return None


_Comparison = tuple[str, str, str]
_Part = _Comparison | frozenset[str] | Predicate
"""A part of a filter: a comparison, a choice of types, or another condition."""


def _only_type(part: _Part) -> str | None:
    """Return the one type that a part lets pass, independent of other attributes; None for another kind of part."""
    return part[2] if isinstance(part, tuple) and part[:2] == ("exact", "type") else None


def _asked(part: _Part) -> Predicate:
    if isinstance(part, frozenset):
        return lambda envelope: envelope.type in part
    return _comparison(*part) if isinstance(part, tuple) else part


def _conjuncts(filters: Sequence[Any], path: Path) -> list[_Part]:
    """Return the filters as parts that must all match, with nested `all` flattened."""
    parts: list[_Part] = []
    for position, entry in enumerate(filters):
        parts.extend(_parts_of(entry, (*path, position)))
    return parts


def _parts_of(entry: object, path: Path) -> list[_Part]:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise FieldError("a filter is a mapping with one dialect", *path)
    ((dialect, value),) = entry.items()
    path = (*path, str(dialect))
    if dialect in ("exact", "prefix", "suffix"):
        return _comparisons(dialect, value, path)
    if dialect == "all":
        return _conjuncts(_nested(value, path), path)
    if dialect == "any":
        alternatives = [_parts_of(inner, (*path, n)) for n, inner in enumerate(_nested(value, path))]
        types = [_only_type(parts[0]) if len(parts) == 1 else None for parts in alternatives]
        if None not in types:
            return [frozenset(name for name in types if name is not None)]
        return [_any([_all(list(map(_asked, parts))) for parts in alternatives])]
    if dialect == "not":
        inner = _predicate(value, path)
        return [lambda envelope: not inner(envelope)]
    if dialect == "cesql":
        raise FieldError("CESQL is not supported here; use exact, prefix, suffix, all, any or not", *path)
    raise FieldError("there is no such dialect; use exact, prefix, suffix, all, any or not", *path)


def _nested(value: object, path: Path) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise FieldError("it must be a list with at least one filter", *path)
    return value


def _comparisons(dialect: str, value: object, path: Path) -> list[_Part]:
    if not isinstance(value, Mapping) or not value:
        raise FieldError("it must be a mapping of attributes to text with at least one attribute", *path)
    for name, text in value.items():
        if not isinstance(name, str) or not is_attribute_name(name):
            raise FieldError(NO_ATTRIBUTE, *path, str(name))
        if not isinstance(text, str) or not text:
            raise FieldError("the value must be text and not empty", *path, name)
    return [(dialect, name, text) for name, text in value.items()]


def _predicate(entry: object, path: Path) -> Predicate:
    return _all(list(map(_asked, _parts_of(entry, path))))


def _all(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 1:
        return predicates[0]
    return lambda envelope: all(predicate(envelope) for predicate in predicates)


def _any(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 1:
        return predicates[0]
    return lambda envelope: any(predicate(envelope) for predicate in predicates)


def _comparison(dialect: str, name: str, text: str) -> Predicate:
    get = getter(name)
    if dialect == "exact":
        return lambda envelope: get(envelope) == text
    if dialect == "prefix":
        return lambda envelope: (get(envelope) or "").startswith(text)
    if dialect == "suffix":
        return lambda envelope: (get(envelope) or "").endswith(text)
    return lambda envelope: bool(get(envelope))


def getter(name: str) -> Getter:
    """Return a function that reads one context attribute of an envelope without building a mapping of all."""
    core = _CORE.get(name)
    if core is not None:
        return core
    return lambda envelope: envelope.extensions.get(name)
