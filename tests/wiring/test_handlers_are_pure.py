"""Handlers take time, ids, randomness and settings from their context, so that a run can be repeated from a seed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = sorted((ROOT / "functions").rglob("*.py"))

# Sources of what differs from run to run, whole modules or names in them.
_SOURCES = {"os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid"}
_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
# What stands between an operation and the outside: ports are used, what is behind them is not known.
_BEHIND_PORTS = {
    *("aiokafka", "cassandra", "hvac", "motor", "pymongo", "redis", "sqlite3"),
    *("http.client", "httpx", "requests", "urllib.request", "urllib3"),
    *("functions_framework", "starlette", "embedded", "cli"),
    *("shared.adapters", "shared.core.settings"),
}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(module + ".") for module in modules)


def offences(source: str) -> list[str]:
    """What a file takes from elsewhere than its context."""
    tree = ast.parse(source)
    found = [name for name in imported(tree) if is_within(name, _SOURCES | _BEHIND_PORTS)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if any(text == call or text.endswith("." + call) for call in _CALLS):
                found.append(text)
    return sorted(set(found))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_function_takes_nothing_from_elsewhere(file: Path) -> None:
    """No function file imports a clock, a source of randomness, the environment, a driver or an adapter."""
    assert offences(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("import time\ntime.time()", "time"),
        ("from time import monotonic as tick", "time"),
        ("def handler():\n    from uuid import uuid4", "uuid"),
        ("import datetime\ndatetime.datetime.now(datetime.UTC)", "datetime.datetime.now"),
        ("from datetime import date\nwhen = date.today", "date.today"),
        ("import os.path", "os.path"),
        ("from shared.adapters.sqlite.store import open_store", "shared.adapters.sqlite.store"),
        ("from shared.core import settings", "shared.core.settings"),
        ("import pymongo.errors", "pymongo.errors"),
    ],
)
def test_the_check_sees_what_it_looks_for(source: str, offence: str) -> None:
    """Each way to take something from elsewhere is found."""
    assert offence in offences(source)
