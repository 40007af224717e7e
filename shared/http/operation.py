"""The description of an HTTP operation: its route, its access, its parameters and its result."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from shared.context.context import Handler

Progress = Callable[[Any, Any], Awaitable[tuple[Any, bool]]]
"""Called with a context and the last result. Returns the current result, and whether the platform has finished with it.
"""

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")
SEGMENT: Final = r"[A-Za-z0-9_.:~-]{1,255}"


class Access(Enum):
    """Who may call an operation: a tenant, the operator of the platform, or a payment provider."""

    TENANT = "tenant"
    PLATFORM = "platform"
    PROVIDER = "provider"


class HttpOperation(NamedTuple):
    """An operation that answers a method and a path."""

    id: str
    """`<domain>/<operation>`: its file under functions/, and the source of its events."""
    name: str
    domain: str
    method: str
    path: str
    scope: str | None
    access: Access
    handler: Handler
    path_parameters: tuple[str, ...]
    body_parameter: str | None
    query_parameter: str | None
    request_parameter: str | None
    context_parameter: str
    command: type[BaseModel] | None
    query: type[BaseModel] | None
    result: type[BaseModel] | None
    status: int
    location: str | None
    progress: Progress | None
    empty_body_is_object: bool
    sensitive: bool
    problems: tuple[str, ...]
    summary: str
    pattern: re.Pattern[str]
    files: tuple[str, ...]
    """The media types of the files that it answers with, when Accept prefers them to JSON."""


def compile_path(template: str) -> re.Pattern[str]:
    """Return the pattern of the raw paths that a template matches.

    A parameter is a part of one segment and has 1 to 255 unreserved characters (RFC 3986) or colons.
    """
    pieces = _PARAMETER.split(template)
    pattern = "".join(
        f"(?P<{piece}>{SEGMENT})" if position % 2 else re.escape(piece) for position, piece in enumerate(pieces)
    )
    return re.compile(pattern)


def path_parameters(template: str) -> tuple[str, ...]:
    """Return the names of a template's parameters, in order."""
    return tuple(_PARAMETER.findall(template))
