"""Writes in the terms of MongoDB, as plain values: what the driver is told, without the driver."""

from __future__ import annotations

from typing import Any, NamedTuple

Stored = dict[str, Any]
"""A document as MongoDB stores it, a filter or an update."""


class Insert(NamedTuple):
    """A new document."""

    document: Stored


class Update(NamedTuple):
    """A change of the one document that the filter matches; with `upsert`, made where it matches none."""

    filter: Stored
    update: Stored
    upsert: bool = False


class Replace(NamedTuple):
    """Another content for the one document that the filter matches; with `upsert`, made where it matches none."""

    filter: Stored
    document: Stored
    upsert: bool = False


class Delete(NamedTuple):
    """The one document that the filter matches is deleted."""

    filter: Stored


Statement = Insert | Update | Replace | Delete


class Counts(NamedTuple):
    """How many documents the updates and replacements of a batch matched, and how many were deleted."""

    matched: int
    deleted: int
