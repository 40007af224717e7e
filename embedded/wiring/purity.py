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
_CALLED: Final = frozenset(call.rpartition(".")[2] for call in _CALLS)
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
    for file, tree in repository.code.trees.items():
        for line, name in offences(tree):
            yield Finding(file, line, f"A function may not use {name}; take it from its context or through a port.")


def offences(tree: ast.AST) -> list[tuple[int, str]]:
    """Return what a file takes from other sources than its context, with the lines."""
    found = set[tuple[int, str]]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(node.lineno, name) for name in _imported(node) if _is_within(name, _SOURCES | _BEHIND_PORTS)}
        elif isinstance(node, ast.Attribute) and node.attr in _NOT_FOR_HANDLERS:
            found.add((node.lineno, ast.unparse(node)))
        elif isinstance(node, ast.Attribute) and node.attr in _CALLED:
            text = ast.unparse(node)
            if any(text == call or text.endswith("." + call) for call in _CALLS):
                found.add((node.lineno, text))
    return sorted(found)


def _imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the modules that a statement imports, or the names that it imports from a module which may be used."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.module is None:
        return []
    if _is_within(node.module, _SOURCES | _BEHIND_PORTS):
        return [node.module]
    return [f"{node.module}.{alias.name}" for alias in node.names]


def _is_within(name: str, modules: frozenset[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)
