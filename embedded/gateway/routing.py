"""Kong's declarative routes: finds the route of a raw path.

A regex path that consists of words and whole-segment groups becomes a branch of a tree, so that the cost of a look-up
depends on the length of the path and not on the number of routes. The other paths of Kong's router
(`traditional_compatible`), which are prefixes and free regexes, are tried after the tree, in the order of their weight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_WORD: Final = re.compile(r"[A-Za-z0-9_~-]+")
_GROUP: Final = re.compile(r"\(\?P?<[A-Za-z_][A-Za-z0-9_]*>(\[\^/\][+*]|\.\+)\)")
_NAMED_GROUP: Final = re.compile(r"\(\?<(?![=!])")


class BadRoute(ValueError):
    """A path that is neither a prefix nor a valid regular expression."""


@dataclass(slots=True)
class _Node:
    words: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    routes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pattern:
    weight: tuple[int, int]
    expression: re.Pattern[str]
    routes: dict[str, str]


class Router:
    """Finds routes by raw path: nothing is decoded before it is compared."""

    def __init__(self) -> None:
        self._root = _Node()
        self._patterns: list[_Pattern] = []

    @classmethod
    def of(cls, routes: Iterable[tuple[Iterable[str], str, str]]) -> Router:
        """Make a router of (methods, path in Kong's notation, name of the route). Raises BadRoute.

        A route without methods answers every method. Of two routes with the same path and method the first wins, as in
        Kong.
        """
        router = cls()
        for methods, path, route in routes:
            router._add(tuple(methods) or ALL_METHODS, path, route)
        router._patterns.sort(key=lambda pattern: pattern.weight, reverse=True)
        return router

    def routes(self, path: str) -> dict[str, str]:
        """Return the names of the routes of a path, by method; empty when the path has none."""
        pieces = path.split("/")
        if not pieces[0]:
            found = _walk(self._root, pieces, 1)
            if found:
                return found
        for pattern in self._patterns:
            if pattern.expression.match(path):
                return pattern.routes
        return {}

    def _add(self, methods: tuple[str, ...], path: str, route: str) -> None:
        pieces = _segments(path)
        routes = self._pattern(path) if pieces is None else self._branch(pieces)
        for method in methods:
            routes.setdefault(method.upper(), route)

    def _branch(self, pieces: list[str]) -> dict[str, str]:
        node = self._root
        for piece in pieces:
            if piece:
                node = node.words.setdefault(piece, _Node())
            else:
                node.any = node.any or _Node()
                node = node.any
        return node.routes

    def _pattern(self, path: str) -> dict[str, str]:
        if path.startswith("~"):
            try:
                expression = re.compile(_NAMED_GROUP.sub("(?P<", path[1:]))
            except re.error as error:
                raise BadRoute(f"{path!r} is not a valid regular expression: {error}") from None
            weight = (1, len(path))
        elif path.startswith("/"):
            expression, weight = re.compile(re.escape(path)), (0, len(path))
        else:
            raise BadRoute(f"{path!r} must begin with / (a prefix) or ~ (a regular expression)")
        for known in self._patterns:
            if known.expression.pattern == expression.pattern:
                return known.routes
        pattern = _Pattern(weight, expression, {})
        self._patterns.append(pattern)
        return pattern.routes


def _walk(node: _Node, pieces: list[str], position: int) -> dict[str, str]:
    if position == len(pieces):
        return node.routes
    piece = pieces[position]
    following = node.words.get(piece)
    if following is not None:
        found = _walk(following, pieces, position + 1)
        if found:
            return found
    if node.any is not None and piece:
        return _walk(node.any, pieces, position + 1)
    return {}


def _segments(path: str) -> list[str] | None:
    """Return the segments of a regex path, with "" for a group; None when it has other parts than words and groups."""
    if not path.startswith("~/") or not path.endswith("$"):
        return None
    pieces: list[str] = []
    # A group such as [^/]+ contains a slash, so groups are replaced before the path is split.
    cut = _GROUP.sub("\0", path[2:-1]).replace(r"\.", ".").replace(r"\-", "-").split("/")
    for piece in cut:
        if piece == "\0":
            pieces.append("")
        elif _WORD.fullmatch(piece):
            pieces.append(piece)
        else:
            return None
    return pieces
