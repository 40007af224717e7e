"""One running platform for all tests of the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.cli.started import Started, started

Lastro = Callable[..., Result]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with started(tmp_path_factory.mktemp("cli") / "data") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def lastro(platform: Started) -> Lastro:
    """Run a command against the platform in this process."""
    runner = CliRunner()

    def run(*arguments: str, **options: Any) -> Result:
        environment = {"LASTRO_DATA_DIR": str(platform.data_dir), "COLUMNS": "200", **options.pop("env", {})}
        return runner.invoke(app, list(arguments), env=environment, **options)

    return run
