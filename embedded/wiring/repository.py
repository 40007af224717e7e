"""Reads the data that the wiring check compares: function files, the events that they publish, the manifests, the
plan."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from embedded.broker.plan import Plan, Subscription, ToService, make_plan
from embedded.manifests.findings import Finding
from embedded.manifests.loading import Manifests, load
from shared.core.envelope import Event
from shared.functions.decorators import operation_of
from shared.functions.operation import Operation
from shared.http.operation import HttpOperation
from shared.messaging.operation import EventOperation

_CAUSE: str = "causetype"


@dataclass(frozen=True, slots=True)
class FunctionFile:
    """The file functions/<domain>/<operation>.py, and its operation."""

    file: str
    """The path, as in FUNCTION_SOURCE."""
    line: int
    """The line on which the function begins."""
    operation: Operation

    @property
    def domain(self) -> str:
        """The name of the folder, which is the domain."""
        return self.file.split("/")[1]

    @property
    def stem(self) -> str:
        """The name of the file without `.py`, which is the name of the operation."""
        return Path(self.file).stem

    def finding(self, reason: str) -> Finding:
        """Return a finding about the function."""
        return Finding(self.file, self.line, f"{self.operation.id} {reason}.")


@dataclass(frozen=True, slots=True)
class Fact:
    """A place in a function file where an event is created. A model of an event is created only to be published."""

    file: str
    line: int
    model: type[Event]
    names_cause: bool
    """Whether the code passes the cause of the event for the extension attribute by which Triggers filter."""

    @property
    def domain(self) -> str:
        """The domain that publishes the event: the name of the folder."""
        return self.file.split("/")[1]


@dataclass(slots=True)
class Code:
    """The function files of a checkout. `broken` has those that cannot be read."""

    functions: dict[str, FunctionFile] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    trees: dict[str, ast.Module] = field(default_factory=dict)
    broken: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Repository:
    """A checkout, as the check reads it."""

    root: Path
    manifests: Manifests
    plan: Plan
    code: Code

    @property
    def functions(self) -> dict[str, FunctionFile]:
        """The functions, by their files."""
        return self.code.functions

    @property
    def http(self) -> dict[str, HttpOperation]:
        """The operations that answer requests, by their files."""
        return {file: f.operation for file, f in self.functions.items() if isinstance(f.operation, HttpOperation)}

    @property
    def events(self) -> dict[str, EventOperation]:
        """The operations that take events, by their files."""
        return {file: f.operation for file, f in self.functions.items() if isinstance(f.operation, EventOperation)}

    @property
    def triggers(self) -> list[Subscription]:
        """The subscriptions of Triggers, without those of sources and schedules."""
        return [one for one in self.plan.subscriptions if one.name.startswith("trigger/")]

    def behind(self, service: str) -> FunctionFile | None:
        """Return the function of a Service, or None when its file does not exist."""
        return self.functions.get(self.plan.services[service].source)

    def function_of(self, subscription: Subscription) -> FunctionFile | None:
        """Return the function to which a subscription leads, or None when it leads elsewhere."""
        target = subscription.target
        return self.behind(target.name) if isinstance(target, ToService) else None


def read_repository(root: Path, code: Code | None = None) -> Repository:
    """Read a checkout. `code` is its code, if that has been read already. Raises ManifestError when its manifests are
    invalid or not supported."""
    manifests = load(root)
    return Repository(root, manifests, make_plan(manifests), code or read_code(root))


def read_code(root: Path) -> Code:
    """Read and import the function files of a checkout, by the names of their modules from this process's path."""
    code = Code()
    for path in sorted((root / "functions").glob("*/*.py")):
        if path.name != "__init__.py":
            _read(code, path, path.relative_to(root).as_posix())
    return code


def _read(code: Code, path: Path, file: str) -> None:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), file)
        module = importlib.import_module(".".join(Path(file).with_suffix("").parts))
    except SyntaxError as error:
        code.broken.append(Finding(file, error.lineno or 1, f"This is not valid Python: {error.msg}."))
        return
    except Exception as error:  # noqa: BLE001 - an import runs the file, which may raise anything
        code.broken.append(Finding(file, 1, f"The file cannot be imported: {error!r}."))
        return
    code.trees[file] = tree
    code.facts += _facts(file, tree, module)
    if path.name.startswith("_"):
        return
    operation = operation_of(getattr(module, path.stem, None))
    if operation is None:
        code.broken.append(Finding(file, 1, f"The file has no function {path.stem} with a decorator of ours."))
        return
    code.functions[file] = FunctionFile(file, _line_of(tree, path.stem), operation)


def _line_of(tree: ast.Module, name: str) -> int:
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name == name:
            return node.lineno
    return 1


def _facts(file: str, tree: ast.Module, module: ModuleType) -> Iterator[Fact]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names_cause = any(keyword.arg == _CAUSE for call in calls for keyword in call.keywords)
    for call in calls:
        model = vars(module).get(call.func.id) if isinstance(call.func, ast.Name) else None
        if isinstance(model, type) and issubclass(model, Event):
            yield Fact(file, call.lineno, model, names_cause)
