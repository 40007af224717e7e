"""Writes of MongoDB as plain values, independent of the driver."""

from __future__ import annotations

from typing import Any, NamedTuple

Stored = dict[str, Any]
"""A document as MongoDB stores it, a filter or an update."""


class Insert(NamedTuple):
    """A new document."""

    document: Stored


class Update(NamedTuple):
    """A change of the one document that the filter matches. With `upsert` the document is inserted when there is
    none."""

    filter: Stored
    update: Stored
    upsert: bool = False


class Replace(NamedTuple):
    """A replacement of the one document that the filter matches. With `upsert` the document is inserted when there is
    none."""

    filter: Stored
    document: Stored
    upsert: bool = False


class Delete(NamedTuple):
    """The deletion of the one document that the filter matches."""

    filter: Stored


Statement = Insert | Update | Replace | Delete


class Counts(NamedTuple):
    """The number of documents that the updates and replacements of a batch matched, and of those that were deleted."""

    matched: int
    deleted: int
