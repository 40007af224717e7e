"""Installations into the cache of servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.servers.installing import Unavailable, installed, java, program, run


def test_an_installation_happens_once(tmp_path: Path) -> None:
    """An installation that is in the cache is not built again."""
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "server").write_text("binary")

    first = installed("server-1", build, cache=tmp_path)
    assert installed("server-1", build, cache=tmp_path) == first == tmp_path / "server-1"
    assert (first / "server").read_text() == "binary"
    assert len(built) == 1


def test_an_interrupted_installation_is_repeated(tmp_path: Path) -> None:
    """A later run does not mistake the remains of a failed build for an installation."""

    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        installed("server-1", interrupted, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["server-1.lock"]
    assert installed("server-1", lambda folder: (folder / "all").touch(), cache=tmp_path).is_dir()


def test_an_installation_whose_command_fails_is_tried_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that does not answer for a moment does not fail the run; one that never answers does."""
    monkeypatch.setattr("tests.servers.installing.PAUSE_SECONDS", 0.0)
    failures = [1, 1, 0, 1, 1, 1]

    def build(folder: Path) -> None:
        run([sys.executable, "-c", f"raise SystemExit({failures.pop(0)})"], folder / "log")

    assert installed("server-1", build, cache=tmp_path).is_dir()
    with pytest.raises(Unavailable, match="ended with 1"):
        installed("server-2", build, cache=tmp_path)
    assert failures == []


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """The error of a failed command contains its exit code and its last lines of output."""
    command = [sys.executable, "-c", "import sys; print('no such package'); sys.exit(3)"]
    with pytest.raises(Unavailable, match=r"(?s)ended with 3.*no such package"):
        run(command, tmp_path / "log")


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """A command that exceeds its time limit is killed, and the error names the command and the limit."""
    with pytest.raises(Unavailable, match=r"took more than 0 s"):
        run([sys.executable, "-c", "import time; time.sleep(3600)"], tmp_path / "log", seconds=0.1)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error for a missing program names what needs it and the Debian package that contains it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"Kafka needs the program mvn, which is not here \(Debian: maven\)"):
        program("mvn", wanted_for="Kafka", package="maven")


def test_an_old_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A Java that is too old for the server is refused, and the message has its version."""
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match=r'needs Java 17 or later, and .* is openjdk version "11\.0\.2"'):
        java(wanted_for="Kafka")
