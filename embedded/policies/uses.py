"""Which ports each function uses: by what its pipeline does for it, and by what its code names.

The code is followed from the handler through every function and class of `functions` and `shared.context` that it
names. A handler reaches a port by an attribute of its context, so the names in the compiled code show the use.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from embedded.wiring.repository import Repository
from shared.functions.operation import Operation
from shared.http.messages import MUTATING
from shared.http.operation import Access, HttpOperation

_PORT_OF_NAME: Final = {
    "ledger": "ledger",
    "rails": "rails",
    "payment_rails": "rails",
    "notifiers": "notifiers",
    "outgoing": "outgoing",
    "clients": "identity",
    "secrets": "secrets",
    "emit": "bus",
    "publish": "bus",
    "bus": "bus",
    "cache": "cache",
    "flags": "flags",
}
"""Attributes of a context and of its runtime, and the port that each leads to."""
_FOLLOWED: Final = ("functions.", "shared.context.")
_NOT_FOLLOWED: Final = frozenset({"shared.context.context", "shared.context.runtime"})


def uses(repository: Repository) -> dict[str, frozenset[str]]:
    """Return the ports that each function uses, by the name of its Service."""
    found = {}
    for name in repository.plan.services:
        function = repository.behind(name)
        if function is not None:
            found[name] = frozenset({*_by_its_pipeline(function.operation), *_by_its_code(function.operation)})
    return found


def _by_its_pipeline(operation: Operation) -> Iterator[str]:
    """Yield the ports that are used before and after the handler (shared/http, shared/messaging)."""
    yield "documents"
    if not isinstance(operation, HttpOperation):
        yield "cache"  # the lock of a delivery
        return
    if operation.access is Access.PROVIDER:
        return
    # The token is verified, and the tenant's rate limit is counted, which a flag may turn off.
    yield from ("identity", "cache", "flags")
    if operation.access is Access.TENANT:
        # A request that changes something is signed; another one may be.
        yield "secrets"
        if operation.method in MUTATING:
            yield "nonces"
    if operation.sensitive:
        yield "secrets"


def _by_its_code(operation: Operation) -> set[str]:
    seen: set[FunctionType] = set()
    found: set[str] = set()
    _follow(operation.handler, seen, found)
    if isinstance(operation, HttpOperation) and operation.progress is not None:
        _follow(operation.progress, seen, found)
    return found


def _follow(called: Any, seen: set[FunctionType], found: set[str]) -> None:
    function = inspect.unwrap(called)
    function = getattr(function, "__func__", function)
    if not isinstance(function, FunctionType) or function in seen or not _is_followed(function.__module__):
        return
    seen.add(function)
    names = set(_names(function.__code__))
    found |= {_PORT_OF_NAME[name] for name in names & _PORT_OF_NAME.keys()}
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType):
            for member in names & vars(value).keys():
                _follow_value(vars(value)[member], seen, found)
        else:
            _follow_value(value, seen, found)


def _follow_value(value: Any, seen: set[FunctionType], found: set[str]) -> None:
    if isinstance(value, type):
        if _is_followed(value.__module__):
            for member in vars(value).values():
                _follow_value(member, seen, found)
    elif callable(value):
        _follow(value, seen, found)


def _is_followed(module: str) -> bool:
    return module.startswith(_FOLLOWED) and module not in _NOT_FOLLOWED


def _names(code: CodeType) -> Iterator[str]:
    """Yield every global and attribute that a function's code names, with those of its inner functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
