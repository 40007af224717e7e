"""The launcher in a copy of the checkout with an empty lock, so that nothing is downloaded."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import bound

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="this Python cannot make environments: it has no ensurepip"
)

ROOT = Path(__file__).resolve().parents[2]
ECHO = "import sys\nprint(*sys.argv[1:], sep='|')\n"


def make_checkout(place: Path) -> Path:
    place.mkdir(parents=True)
    shutil.copy(ROOT / "lastro", place / "lastro")
    for folder in ("cli", "embedded", "events", "functions", "shared"):
        (place / folder).mkdir()
        (place / folder / "__init__.py").touch()
    (place / "cli" / "__main__.py").write_text(ECHO)
    (place / "requirements.lock").write_text("# nothing\n")
    (place / "requirements-dev.lock").write_text("# nothing, for tests\n")
    return place


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("launcher") / "a place with spaces")


def system_has_a_python() -> bool:
    return any(
        subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0
        for python in Path("/usr/bin").glob("python3.1[1-4]")
    )


@pytest.fixture(scope="module")
def first(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The first start, with another Python in front of the PATH if the system has its own."""
    place = tmp_path_factory.mktemp("first")
    if not system_has_a_python():
        return launch(checkout / "lastro", "request", "a b", cwd=place)
    named = place / "bin" / "python3.14"
    named.parent.mkdir()
    named.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    named.chmod(0o755)
    path = f"{named.parent}:{os.environ['PATH']}"
    return launch(checkout / "lastro", "request", "a b", cwd=place, LASTRO_PYTHON="", PATH=path)


def launch(script: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        bound(["sh", str(script), *arguments]),
        cwd=cwd,
        env={**os.environ, "LASTRO_PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_start_prepares_and_second_is_quiet(
    checkout: Path, first: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """The first start reports that it prepares an environment; the next one only runs the command."""
    second = launch(checkout / "lastro", "request", "a b", cwd=tmp_path)

    assert (first.returncode, first.stdout) == (0, "request|a b\n"), first.stderr
    assert "creating an environment" in first.stderr
    assert (second.returncode, second.stdout, second.stderr) == (0, "request|a b\n", "")


@pytest.mark.skipif(not system_has_a_python(), reason="the system has no Python that can make environments")
def test_the_systems_own_python_is_preferred(checkout: Path, first: subprocess.CompletedProcess[str]) -> None:
    """An environment is created with the system's Python, if it is supported, and not with the one in PATH."""
    assert first.returncode == 0, first.stderr
    assert "home = /usr/bin\n" in (checkout / ".venv" / "pyvenv.cfg").read_text()


def test_tests_get_their_own_lock(checkout: Path, tmp_path: Path) -> None:
    """`test` installs the lock for tests once, and running afterwards installs nothing again."""
    first = launch(checkout / "lastro", "test", cwd=tmp_path)
    second = launch(checkout / "lastro", "test", cwd=tmp_path)
    running = launch(checkout / "lastro", "up", cwd=tmp_path)

    assert "requirements-dev.lock" in first.stderr
    assert (second.stderr, running.stderr) == ("", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_about_the_tests_installs_nothing(tmp_path: Path, option: str) -> None:
    """`lastro test --help` answers in a fresh checkout without preparing an environment."""
    fresh = make_checkout(tmp_path / "fresh")
    asked = launch(fresh / "lastro", "test", option, cwd=tmp_path)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout.startswith("Usage: lastro test [--json]")
    assert not (fresh / ".venv").exists()


def test_arguments_after_two_dashes_are_passed_to_pytest(checkout: Path, tmp_path: Path) -> None:
    """`lastro test -- --help` is passed on."""
    passed = launch(checkout / "lastro", "test", "--", "--help", cwd=tmp_path)
    assert passed.stdout == "test|--|--help\n"


def test_a_changed_lock_is_installed(checkout: Path, tmp_path: Path) -> None:
    """After the lock has changed, the next start installs it into the existing environment."""
    launch(checkout / "lastro", "up", cwd=tmp_path)
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    again = launch(checkout / "lastro", "up", cwd=tmp_path)

    assert "installing" in again.stderr
    assert "creating an environment" not in again.stderr


def test_a_link_and_another_cli_folder_are_ignored(checkout: Path, tmp_path: Path) -> None:
    """The launcher runs its own package when it is called through a symbolic link, in a folder with another package
    `cli`."""
    launch(checkout / "lastro", "up", cwd=tmp_path)
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__main__.py").write_text("print('foreign')\n")
    (tmp_path / "link").symlink_to(checkout / "lastro")

    result = launch(tmp_path / "link", "up", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, "up\n")


def test_without_a_supported_python_it_ends_with_1(tmp_path: Path) -> None:
    """Without a Python from 3.11 to 3.14 the launcher ends with 1 and one line that says so."""
    place = make_checkout(tmp_path / "checkout")

    result = launch(place / "lastro", "up", cwd=tmp_path, LASTRO_PYTHON="/nowhere/python")

    assert result.returncode == 1
    assert "needs Python 3.11 to 3.14" in result.stderr
    assert not (place / ".venv.lock").exists()


def test_a_lock_left_by_a_killed_start_is_taken_over(checkout: Path, tmp_path: Path) -> None:
    """Later starts do not wait for the lock of a killed preparation."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (checkout / ".venv.lock").mkdir()
    (checkout / ".venv.lock" / "pid").write_text(str(ended.pid))
    (checkout / "requirements.lock").write_text("# changed once more\n")

    result = launch(checkout / "lastro", "up", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, "up\n"), result.stderr
