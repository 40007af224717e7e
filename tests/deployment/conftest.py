"""Stand-ins for the programs of a deployment, and one platform whose API is that of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployment import cluster, waiting
from tests.cli.started import Started, started
from tests.deployment.stand_ins import StandIns

PROGRAMS = ("kubectl", "kustomize", "kind", "docker", "helm", "ps")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """Stand-ins for all programs, which succeed and print nothing until a test says otherwise."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for module in (cluster, waiting):
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    return StandIns(folder, *PROGRAMS)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with started(tmp_path_factory.mktemp("deployment") / "data") as running:
        yield running
        assert running.stop() == 0
