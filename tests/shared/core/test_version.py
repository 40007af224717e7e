"""One version for the whole platform."""

from __future__ import annotations

import tomllib
from pathlib import Path

from shared.core.version import VERSION


def test_the_version_is_the_project_s() -> None:
    """The platform's version is the one in pyproject.toml."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION


def test_every_package_of_the_wheel_is_typed() -> None:
    """Each package that the wheel ships has the marker of PEP 561, as the classifier `Typing :: Typed` says."""
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [package for package in packages if not (root / package / "py.typed").is_file()] == []
