"""What the wiring tests compare: the functions on disk, the manifests, and the plan that is made of them."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from embedded.broker.plan import Plan, make_plan
from embedded.manifests.loading import Manifests, load
from shared.core.envelope import Event
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Told:
    """An event type that a function file makes facts of, and whether it names their cause for Triggers to filter by."""

    file: str
    domain: str
    model: type[Event]
    names_cause: bool


@dataclass(frozen=True)
class House:
    """The functions by their files, as FUNCTION_SOURCE writes them."""

    operations: dict[str, Operation]
    told: list[Told]

    @property
    def http(self) -> dict[str, HttpOperation]:
        return {file: known for file, known in self.operations.items() if isinstance(known, HttpOperation)}

    @property
    def events(self) -> dict[str, EventOperation]:
        return {file: known for file, known in self.operations.items() if isinstance(known, EventOperation)}


def _module(file: Path) -> ModuleType:
    return importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


def _told(file: Path) -> list[Told]:
    """A model of an event is made in a function for nothing but to be emitted."""
    names = vars(_module(file))
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names_cause = any(keyword.arg == "causetype" for call in calls for keyword in call.keywords)
    models = {
        names[call.func.id]
        for call in calls
        if isinstance(call.func, ast.Name) and isinstance(names.get(call.func.id), type)
    }
    shown = file.relative_to(ROOT).as_posix()
    return [
        Told(shown, file.parent.name, model, names_cause)
        for model in sorted(models, key=lambda model: model.__name__)
        if issubclass(model, Event)
    ]


@pytest.fixture(scope="session")
def house() -> House:
    """Every function of the repository."""
    operations: dict[str, Operation] = {}
    told: list[Told] = []
    for file in sorted((ROOT / "functions").glob("*/*.py")):
        if file.name == "__init__.py":
            continue
        told.extend(_told(file))
        if not file.name.startswith("_"):
            operation = operation_of(getattr(_module(file), file.stem, None))
            assert operation is not None, f"{file}: it holds no function {file.stem}"
            operations[file.relative_to(ROOT).as_posix()] = operation
    return House(operations, told)


@pytest.fixture(scope="session")
def manifests() -> Manifests:
    """The manifests as the embedded platform reads them."""
    return load(ROOT)


@pytest.fixture(scope="session")
def plan(manifests: Manifests) -> Plan:
    """What the embedded broker makes of the manifests."""
    return make_plan(manifests)
