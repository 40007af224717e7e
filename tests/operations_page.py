"""The page of all operations and events: what answers or publishes each, what starts it, and which tests touch it.

`task docs:operations` writes `docs/operations.md`; a test compares it, and fails for an operation without a test and an
event without an emitter, or without a consumer and a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import yaml

from events.catalogue import CATALOGUE
from shared.core.envelope import Event
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation
from tests.harness import operations, takes, trigger_filters

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "operations.md"
_SHOWN: Final = 3
_PARAMETER: Final = r"(?:\{[^{}]*\}|[^/\"'`?{}\s]+)"
_PATH_NAME: Final = re.compile(r'^([A-Z_]+)(?:: Final)? = "(/v1/[^"]*)"', re.MULTILINE)
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


def operation_rows() -> list[OperationRow]:
    """Return every operation of the HTTP API, in the order of paths."""
    found = [operation for operation in operations().values() if isinstance(operation, HttpOperation)]
    return [
        OperationRow(operation, _naming(_path_pattern(operation.path), rf"\b{operation.name}\b"))
        for operation in sorted(found, key=lambda each: (each.path, each.method))
    ]


def reaction_rows() -> list[ReactionRow]:
    """Return every function that events or schedules start, in the order of their ids."""
    rows = []
    for id, operation in sorted(operations().items()):
        if isinstance(operation, EventOperation):
            consumed = [CATALOGUE[type] for type in operation.models if type in CATALOGUE]
            triggers = tuple(_schedules().get(id, ())) or tuple(model.type for model in consumed) or ("every event",)
            rows.append(ReactionRow(operation, triggers, _naming(rf"\b{operation.name}\b", *_names(consumed))))
    return rows


def event_rows() -> list[EventRow]:
    """Return every published event, in the order of types."""
    rows = []
    for type, model in sorted(CATALOGUE.items()):
        emitters = tuple(
            name for name, text in _sources("functions", "*.py").items() if re.search(rf"\b{model.__name__}\(", text)
        )
        consumers = tuple(
            id
            for id, operation in sorted(operations().items())
            if isinstance(operation, EventOperation) and (type in operation.models or _takes(id, type))
        )
        rows.append(EventRow(model, emitters, consumers, _naming(*_names([model]), re.escape(_fact(type)))))
    return rows


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
            for row in operation_rows()
        ),
        "## Functions that events and schedules start",
        "| function | started by | tests |\n|---|---|---|\n"
        + "\n".join(
            f"| `{row.operation.id}` | {_code(row.triggers)} | {_listed(row.tests)} |" for row in reaction_rows()
        ),
        "## Events",
        "| event | made in | consumed by | tests |\n|---|---|---|---|\n"
        + "\n".join(
            f"| `{row.model.type}` | {_code(row.emitters)} | {_code(row.consumers)} | {_listed(row.tests)} |"
            for row in event_rows()
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


def _names(models: Iterable[type[Event]]) -> list[str]:
    return [rf"\b{model.__name__}\b" for model in models]


def _naming(*patterns: str) -> tuple[str, ...]:
    """Return the test files that have one of the patterns."""
    wanted = re.compile("|".join(patterns))
    return tuple(name for name, text in _sources("tests", "*.py").items() if wanted.search(text))


@cache
def _sources(folder: str, pattern: str) -> dict[str, str]:
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob(pattern))
    texts = {name: (ROOT / name).read_text("utf-8") for name in found if name not in _LISTS}
    # A path that has a name in a test, such as `ENDPOINTS`, is written out.
    paths = {found[1]: found[2] for text in texts.values() for found in _PATH_NAME.finditer(text)}
    return {name: _NAMED.sub(lambda one: paths.get(one[1], one[0]), text) for name, text in texts.items()}


@cache
def _schedules() -> dict[str, list[str]]:
    """Return the schedule of each function that a PingSource starts."""
    by_service = {id.replace("/", "-").replace("_", "-"): id for id in operations()}
    found: dict[str, list[str]] = {}
    for source in yaml.safe_load_all((ROOT / "knative" / "eventing" / "schedules.yaml").read_text("utf-8")):
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
