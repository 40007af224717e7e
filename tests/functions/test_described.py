"""The OpenAPI document describes every function of this repository."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from shared.core.problems import CODES
from shared.http.openapi import describe, problem_codes
from shared.http.operation import HttpOperation
from tests.harness import operations

TIMES = ("_at", "as_of", "time")


@cache
def http_operations() -> tuple[HttpOperation, ...]:
    return tuple(operation for operation in operations().values() if isinstance(operation, HttpOperation))


@cache
def document() -> dict[str, Any]:
    return describe(http_operations(), base_url="http://localhost", token_url="http://localhost/token", version="1")


def _properties(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every property of a schema and of its nested schemas, by its path."""
    if isinstance(schema, dict):
        for name, field in schema.get("properties", {}).items():
            yield f"{place}.{name}", field
        for name, value in schema.items():
            yield from _properties(value, f"{place}/{name}")
    elif isinstance(schema, list):
        for value in schema:
            yield from _properties(value, place)


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_field_has_a_description() -> None:
    """Each schema and each of its fields has a description."""
    schemas = document()["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []
    fields = [found for name, schema in schemas.items() for found in _properties(schema, name)]
    assert len(fields) > 190
    assert [place for place, field in fields if not field.get("description")] == []


def test_every_time_has_its_format() -> None:
    """Each field and each query parameter that is a time has the format date-time."""
    fields = [
        found for name, schema in document()["components"]["schemas"].items() for found in _properties(schema, name)
    ]
    times = [(place, field) for place, field in fields if place.endswith(TIMES) and field.get("type") != "object"]
    assert len(times) > 20
    assert [place for place, field in times if "date-time" not in str(field)] == []
    periods = [
        p for _, operation in _operations() for p in operation["parameters"] if p.get("name") in ("from", "to", "at")
    ]
    assert periods
    assert all(parameter["schema"]["format"] == "date-time" for parameter in periods)


def test_no_header_is_a_date_time() -> None:
    """A header that is a time is a string with a pattern, because generated clients would format a date-time
    differently."""
    headers = document()["components"]["parameters"].values()
    assert all("format" not in parameter["schema"] for parameter in headers)
    assert document()["components"]["parameters"]["Timestamp"]["schema"]["pattern"]


def test_every_parameter_has_a_description() -> None:
    """Each parameter in a path, a query or a header has a description."""
    shared = document()["components"]["parameters"]
    assert all(parameter["description"] and "example" in parameter for parameter in shared.values())
    undescribed = [
        (place, parameter["name"])
        for place, operation in _operations()
        for parameter in operation["parameters"]
        if "$ref" not in parameter and not parameter.get("description")
    ]
    assert undescribed == []


def test_every_scope_and_domain_has_a_description() -> None:
    """Each scope of the token endpoint and each domain has a description."""
    flow = document()["components"]["securitySchemes"]["token"]["flows"]["clientCredentials"]
    assert {operation.scope for operation in http_operations() if operation.scope} == flow["scopes"].keys()
    assert all(flow["scopes"].values())
    assert {tag["name"] for tag in document()["tags"]} == {operation.domain for operation in http_operations()}


def _raised(operation: HttpOperation) -> set[str]:
    """Return the problem codes in the handler's module and in the code that it imports from its own domain."""
    found: set[str] = set()
    seen: set[str] = set()
    pending = [inspect.unwrap(operation.handler).__code__.co_name]
    module = import_module(operation.handler.__module__)
    trees = {module.__name__: _definitions(module)}
    queue = [(module.__name__, name) for name in pending]
    while queue:
        place, name = queue.pop()
        if f"{place}.{name}" in seen or name not in trees[place]:
            continue
        seen.add(f"{place}.{name}")
        node = trees[place][name]
        if isinstance(node, ast.ImportFrom):
            if node.module and node.module.startswith(f"functions.{operation.domain}."):
                trees.setdefault(node.module, _definitions(import_module(node.module)))
                queue += [(node.module, alias.name) for alias in node.names if (alias.asname or alias.name) == name]
            continue
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                found |= _codes_of(inner)
            if isinstance(inner, ast.Name):
                queue.append((place, inner.id))
    return found


def _definitions(module: Any) -> dict[str, ast.AST]:
    """Return a module's functions, classes and imports, by their names."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
    return found


def _codes_of(call: ast.Call) -> set[str]:
    called = ast.unparse(call.func)
    if called in ("Problem", "Problem.at", "Problem.parameter"):
        first = call.args[0]
        return {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else set()
    return {"unknown_reference"} if called.endswith(".referenced") else set()


@pytest.mark.parametrize("operation", http_operations(), ids=lambda operation: operation.id)
def test_every_problem_is_listed(operation: HttpOperation) -> None:
    """Each problem code that a function's own code raises is listed in its description, and each listed code exists."""
    raised, listed = _raised(operation), set(problem_codes(operation))
    assert raised <= listed
    assert listed <= CODES.keys()


def test_problems_are_found_in_the_code() -> None:
    """The search finds the codes of a function and of the code that it calls in its domain."""
    by_id = {operation.id: operation for operation in http_operations()}
    assert {"account_closed", "currency_mismatch", "unknown_reference"} <= _raised(by_id["payments/create_payment"])
    assert "illegal_state" in _raised(by_id["payments/cancel"])
    assert "not_found" in _raised(by_id["tenants/get_signing_key"])
