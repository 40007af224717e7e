"""One version for the whole platform."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.core.version import VERSION


def test_the_version_is_the_project_s() -> None:
    """The platform's version is the one in pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION
