"""Handlers take time, ids, randomness and settings from their context, so that a run can be repeated from a seed."""

from __future__ import annotations

import ast

import pytest

from embedded.wiring.purity import offences


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
        ("ctx.runtime.settings.sweep_batch", "ctx.runtime"),
        ("def handler(scope):\n    scope.pending.events.append(1)", "scope.pending"),
    ],
)
def test_each_impure_use_is_found(source: str, offence: str) -> None:
    """The use of a clock, an id, randomness, settings, a driver, an adapter or the runtime is found in any notation."""
    assert offence in [name for _, name in offences(ast.parse(source))]


def test_a_finding_has_its_line() -> None:
    """A finding has the line of the import or call."""
    source = "from datetime import datetime\n\nWHEN = datetime.now()\nimport os\n"
    assert offences(ast.parse(source)) == [(3, "datetime.now"), (4, "os")]
