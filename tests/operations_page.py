"""The page of all operations and events: what answers or publishes each, what starts it, and which tests touch it.

`task docs:operations` writes `docs/operations.md`; a test compares it, and fails for an operation without a test and an
event without an emitter, or without a consumer and a test.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from events.catalogue import CATALOGUE
from shared.core.envelope import Event
from shared.core.strict_yaml import read_values
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation
from tests.harness import operations, takes, trigger_filters

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "operations.md"
_SHOWN: Final = 3
_PARAMETER: Final = r"(?:\{[^{}]*\}|[^/\"'`?{}\s]+)"
_PATH_NAME: Final = re.compile(r'^([A-Z_]+)(?:: Final)? = "(/v1/[^"]*)"', re.MULTILINE)
_WORD: Final = re.compile(r"\w+")
_NAMED: Final = re.compile(r"\{([A-Z_]+)\}")
# They name everything, so they say nothing about one operation.
_LISTS: Final = frozenset(
    {
        "tests/contract/test_resources.py",
        "tests/contract/test_tokens.py",
        "tests/examples/recording.py",
        "tests/functions/alone/requests.py",
    }
)


class OperationRow(NamedTuple):
    """An operation of the HTTP API: its function, and the test files that use its path or its function."""

    operation: HttpOperation
    tests: tuple[str, ...]


class ReactionRow(NamedTuple):
    """A function that events or schedules start, its triggers, and the test files that name it or its events."""

    operation: EventOperation
    triggers: tuple[str, ...]
    tests: tuple[str, ...]


class EventRow(NamedTuple):
    """An event type: the files that make it, the functions that consume it, and the test files that name it."""

    model: type[Event]
    emitters: tuple[str, ...]
    consumers: tuple[str, ...]
    tests: tuple[str, ...]


def http_operations() -> dict[str, HttpOperation]:
    """Return every operation of the HTTP API by its id, in the order of paths."""
    found = [operation for operation in operations().values() if isinstance(operation, HttpOperation)]
    return {each.id: each for each in sorted(found, key=lambda each: (each.path, each.method))}


def event_operations() -> dict[str, EventOperation]:
    """Return every function that events or schedules start by its id, in the order of ids."""
    return {id: each for id, each in sorted(operations().items()) if isinstance(each, EventOperation)}


def operation_row(operation: HttpOperation) -> OperationRow:
    """Return the row of an operation of the HTTP API."""
    return OperationRow(operation, _naming({operation.name}, _path_pattern(operation.path)))


def reaction_row(operation: EventOperation) -> ReactionRow:
    """Return the row of a function that events or schedules start."""
    consumed = [CATALOGUE[type] for type in operation.models if type in CATALOGUE]
    schedules = tuple(_schedules().get(operation.id, ()))
    triggers = schedules or tuple(model.type for model in consumed) or ("every event",)
    return ReactionRow(operation, triggers, _naming({operation.name, *(model.__name__ for model in consumed)}))


def event_row(model: type[Event]) -> EventRow:
    """Return the row of a published event."""
    name = model.__name__
    emitters = tuple(
        file
        for file, text in _sources("functions").items()
        if name in _words("functions")[file] and re.search(rf"\b{name}\(", text)
    )
    consumers = tuple(
        id for id, operation in event_operations().items() if model.type in operation.models or _takes(id, model.type)
    )
    return EventRow(model, emitters, consumers, _naming({name}, re.escape(_fact(model.type))))


def page() -> str:
    """Return the page."""
    parts = [
        "# Operations and events",
        "Made by `task docs:operations` from the functions, the wiring and the tests; do not edit.",
        "## Operations",
        "| operation | scope | function | tests |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{row.operation.method} {row.operation.path}` | {row.operation.scope or '–'} "
            f"| `{row.operation.id}` | {_listed(row.tests)} |"
            for row in map(operation_row, http_operations().values())
        ),
        "## Functions that events and schedules start",
        "| function | started by | tests |\n|---|---|---|\n"
        + "\n".join(
            f"| `{row.operation.id}` | {_code(row.triggers)} | {_listed(row.tests)} |"
            for row in map(reaction_row, event_operations().values())
        ),
        "## Events",
        "| event | made in | consumed by | tests |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{row.model.type}` | {_code(row.emitters)} | {_code(row.consumers)} | {_listed(row.tests)} |"
            for row in (event_row(model) for _, model in sorted(CATALOGUE.items()))
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _path_pattern(path: str) -> str:
    """Return the pattern of a path as a test writes it: a text, or an f-string with expressions as parameters."""
    inner = re.sub(r"\\\{[a-z_]+\\\}", lambda _: _PARAMETER, re.escape(path))
    last = path.rpartition("/")[2]
    # The path up to the id is often a variable of the test.
    action = rf"|\}}/{re.escape(last)}[\"'`?]" if "{" in path and "{" not in last else ""
    return rf"{inner}[\"'`?]{action}"


def _fact(type: str) -> str:
    """Return the aggregate and the fact of a type: `payment.settled` of `lastro.payment.settled.v1`."""
    return type.removeprefix("lastro.").rpartition(".")[0]


def _naming(names: Collection[str], pattern: str | None = None) -> tuple[str, ...]:
    """Return the test files that have one of the names as a word, or the pattern."""
    wanted = None if pattern is None else re.compile(pattern)
    return tuple(
        file
        for file, text in _sources("tests").items()
        if not _words("tests")[file].isdisjoint(names) or (wanted is not None and wanted.search(text))
    )


@cache
def _words(folder: str) -> dict[str, frozenset[str]]:
    return {file: frozenset(_WORD.findall(text)) for file, text in _sources(folder).items()}


@cache
def _sources(folder: str) -> dict[str, str]:
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))
    texts = {name: (ROOT / name).read_text("utf-8") for name in found if name not in _LISTS}
    # A path that has a name in a test, such as `ENDPOINTS`, is written out.
    paths = {found[1]: found[2] for text in texts.values() for found in _PATH_NAME.finditer(text)}
    return {name: _NAMED.sub(lambda one: paths.get(one[1], one[0]), text) for name, text in texts.items()}


@cache
def _schedules() -> dict[str, list[str]]:
    """Return the schedule of each function that a PingSource starts."""
    by_service = {id.replace("/", "-").replace("_", "-"): id for id in operations()}
    found: dict[str, list[str]] = {}
    for source in read_values((ROOT / "knative" / "eventing" / "schedules.yaml").read_text("utf-8")):
        if source:
            id = by_service[source["spec"]["sink"]["ref"]["name"]]
            found.setdefault(id, []).append(source["spec"]["schedule"])
    return found


def _takes(id: str, type: str) -> bool:
    """Return whether a Trigger brings an event type to a function."""
    return any(takes(filter, {"type": type}) for filter in trigger_filters().get(id, ()))


def _listed(tests: tuple[str, ...]) -> str:
    """Return test files in a cell: the nearest ones, which name one domain, before those of the whole platform."""
    ordered = sorted(tests, key=lambda name: (not name.startswith("tests/functions/"), name))
    shown = ", ".join(f"`{name}`" for name in ordered[:_SHOWN])
    return shown + (" and others" if len(tests) > _SHOWN else "")


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "–"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
