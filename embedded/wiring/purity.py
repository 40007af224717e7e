"""Handlers take time, ids and randomness only from their context, so that a run can be repeated from a seed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from embedded.manifests.findings import Finding
from embedded.wiring.repository import Repository

_SOURCES: Final = frozenset({"os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"})
"""Sources of values that differ between runs: whole modules, or names in them."""
_CALLS: Final = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today"})
_BEHIND_PORTS: Final = frozenset(
    {
        *("aiokafka", "cassandra", "hvac", "motor", "pymongo", "redis", "sqlite3"),
        *("http.client", "httpx", "requests", "urllib.request", "urllib3"),
        *("functions_framework", "starlette", "embedded", "cli"),
        *("shared.adapters", "shared.core.settings"),
    }
)
"""Drivers, servers and adapters. A function uses ports and is independent of their adapters."""
_NOT_FOR_HANDLERS: Final = frozenset({"pending", "runtime"})
"""Attributes of a context that only the packages that run handlers may use."""


def impure_functions(repository: Repository) -> Iterator[Finding]:
    """No function file imports a clock, randomness, the environment, a driver or an adapter, or uses the runtime."""
    for file, tree in repository.trees.items():
        for line, name in offences(tree):
            yield Finding(file, line, f"A function may not use {name}; take it from its context or through a port.")


def offences(tree: ast.AST) -> list[tuple[int, str]]:
    """Return what a file takes from other sources than its context, with the lines."""
    found = {(line, name) for line, name in _imported(tree) if _is_within(name, _SOURCES | _BEHIND_PORTS)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _NOT_FOR_HANDLERS:
            found.add((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if any(text == call or text.endswith("." + call) for call in _CALLS):
                found.add((node.lineno, text))
    return sorted(found)


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if _is_within(node.module, _SOURCES | _BEHIND_PORTS):
                yield node.lineno, node.module
            else:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _is_within(name: str, modules: frozenset[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)
