"""Flags on a YAML file."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.files.yaml_flags import YamlFlags
from shared.core.clock import ManualClock
from shared.core.flags import STOP_METHOD
from shared.core.settings import InvalidSettings

PIX, INTERNAL = STOP_METHOD["pix"], STOP_METHOD["internal"]
SECONDS = 15


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.yaml"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def flags(path: Path, clock: ManualClock) -> YamlFlags:
    return YamlFlags(path, clock, SECONDS)


def test_flags_are_read_from_the_file(path: Path, flags: YamlFlags) -> None:
    """A flag is on for all tenants, or on for the listed tenants and off for others."""
    path.write_text("stop-method-pix: true\nstop-method-internal: [ten_1]\n")
    assert flags.enabled(PIX, None)
    assert flags.enabled(INTERNAL, "ten_1")
    assert not flags.enabled(INTERNAL, "ten_2")
    assert not flags.enabled(INTERNAL, None)


def test_a_flag_that_is_not_in_the_file_has_its_default(path: Path, flags: YamlFlags) -> None:
    """Without the file, and in a file without the flag, a flag has the default that the code gives it."""
    assert not flags.enabled(PIX, "ten_1")
    assert flags.enabled(PIX._replace(default=True), "ten_1")


def test_a_changed_file_is_read_after_the_refresh_time(path: Path, flags: YamlFlags, clock: ManualClock) -> None:
    """A file that is written, changed or removed while the process runs is obeyed within the refresh time."""
    assert not flags.enabled(PIX, "ten_1")
    for content, expected in (("stop-method-pix: true\n", True), ("stop-method-pix: [ten_2]\n", False), (None, False)):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        clock.advance(timedelta(seconds=SECONDS))
        assert flags.enabled(PIX, "ten_1") is expected
    assert not flags.enabled(PIX, "ten_2")


def test_a_running_process_keeps_its_flags_when_the_file_becomes_invalid(
    path: Path, flags: YamlFlags, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that becomes invalid is logged once with its error, and the flags stay as they were until it is valid."""
    path.write_text("stop-method-pix: true\n")
    assert flags.enabled(PIX, "ten_1")
    path.write_text("stop-method-pix: maybe\n")
    for _ in range(3):
        clock.advance(timedelta(seconds=SECONDS))
        assert flags.enabled(PIX, "ten_1")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "stop-method-pix is neither true, false nor a list of tenants" in record.getMessage()
    path.write_text("stop-method-pix: false\n")
    clock.advance(timedelta(seconds=SECONDS))
    assert not flags.enabled(PIX, "ten_1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- a", "is not a mapping of flags"),
        ("stop-method-pix: 3", "is neither true, false nor a list of tenants"),
        ("stop-method-pix: [1]", "is neither true, false nor a list of tenants"),
        ("stop-method-pix: [", "cannot be read as YAML"),
        ("stop-method-pix: true\nstop-method-pix: false", "cannot be read as YAML"),
        ("stop-methd-pix: true", "there is no flag stop-methd-pix; the flags are stop-method-internal, "),
        ("3: true", "there is no flag 3"),
    ],
)
def test_an_invalid_file_is_refused(path: Path, flags: YamlFlags, content: str, reason: str) -> None:
    """At first use, a file that is not a mapping of known flags to their values is refused with the reason."""
    path.write_text(content)
    with pytest.raises(InvalidSettings, match=rf"flags\.yaml.* {reason}"):
        flags.enabled(PIX, None)
