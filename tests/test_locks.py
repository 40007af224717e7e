"""The lock files from which every installation is made."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-client.lock",
    "requirements-servers.lock",
    "requirements-openbao.lock",
)
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ]+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for pin in PIN.finditer((ROOT / lock).read_text()):
        found.setdefault(pin["name"], set()).add(pin["version"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    """A lock contains no index and no URL: pip uses the one that is configured on the machine."""
    assert not re.search(r"://|--(extra-)?index-url|--find-links", (ROOT / lock).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    """Each pinned package has at least one SHA-256 hash, so that only the locked files are installed."""
    blocks = re.split(r"^(?=[a-z0-9])", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]

    assert [block.partition(" ")[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_a_lock_has_the_dependencies_of_the_project() -> None:
    """Every dependency of pyproject.toml is in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    running, developing, *others = (set(pins(lock)) for lock in LOCKS)

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=;! ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}

    assert names(project["project"]["dependencies"]) <= running
    assert names(project["dependency-groups"]["dev"]) <= developing
    for group, locked in zip(("client", "servers", "openbao"), others, strict=True):
        assert names(project["dependency-groups"][group]) <= locked


def test_the_test_lock_has_the_versions_of_the_run_lock() -> None:
    """The lock for tests pins each package of the lock for running at the same versions."""
    running, developing, *_ = (pins(lock) for lock in LOCKS)

    assert {name: versions for name, versions in running.items() if developing.get(name) != versions} == {}
