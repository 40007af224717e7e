"""Time, settings and money are read strictly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.clock import JumpWatch, ManualClock, SystemClock, format_time, parse_time
from shared.core.money import Amount, Money
from shared.core.settings import InvalidSettings, Settings, misspelt


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive here
def test_time_round_trip(instant: datetime) -> None:
    """Times are written with a fixed width, so that their texts sort by time."""
    text = format_time(instant)
    assert len(text) == 27
    assert parse_time(text) == instant


def test_time_in_other_zones_is_written_in_utc() -> None:
    """A time with an offset is converted to UTC, and one without an offset is refused."""
    brasilia = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=-3)))
    assert format_time(brasilia) == "2026-01-01T12:00:00.000000Z"
    with pytest.raises(ValueError, match="no offset"):
        parse_time("2026-01-01T12:00:00")


def test_the_wall_clock_is_the_machine_s_even_when_it_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the system time was set back, `now` is the system time and `monotonic` has not decreased."""
    shown = datetime(2026, 1, 1, 12, tzinfo=UTC)

    class Machine(datetime):
        """The system time, which a test sets."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return shown

    monkeypatch.setattr("shared.core.clock.datetime", Machine)
    clock = SystemClock()
    before, monotonic = clock.now(), clock.monotonic()
    shown -= timedelta(hours=1)
    assert clock.now() == before - timedelta(hours=1)
    assert clock.monotonic() >= monotonic


def test_a_manual_clock_advances_and_jumps() -> None:
    """`advance` moves both clocks, only forwards; `jump` moves only the wall clock, in either direction."""
    clock = ManualClock()
    start, zero = clock.now(), clock.monotonic()
    clock.advance(timedelta(seconds=5))
    clock.jump(timedelta(hours=-1))
    assert (clock.now() - start, clock.monotonic() - zero) == (timedelta(seconds=5, hours=-1), 5.0)
    with pytest.raises(ValueError, match="use `jump` to set the wall clock back"):
        clock.advance(timedelta(seconds=-1))


def test_a_jump_is_reported_once_with_its_direction() -> None:
    """A step of the wall clock of two seconds or more is reported as a jump; elapsed time and small corrections are
    not."""
    clock = ManualClock()
    watch = JumpWatch(clock)
    found = []
    for passed, step in ((60, 0), (1, -3600), (1, 0), (1, 3600), (1, 1.9), (1, -1.9), (0, 2)):
        clock.advance(timedelta(seconds=passed))
        clock.jump(timedelta(seconds=step))
        found.append(round(watch.check(), 3))
    assert found == [0, -3600, 0, 3600, 0, 0, 2]


def test_settings_come_from_the_environment() -> None:
    """Settings are read from environment variables, and an invalid number is refused with the variable's name."""
    settings = Settings.from_environment({"LASTRO_MAX_BODY_BYTES": "10", "LASTRO_TRACE_RATIO": "0.5"})
    assert (settings.max_body_bytes, settings.trace_ratio, settings.documents) == (10, 0.5, "")
    with pytest.raises(ValueError, match="LASTRO_MAX_BODY_BYTES='ten'"):
        Settings.from_environment({"LASTRO_MAX_BODY_BYTES": "ten"})


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("LASTRO_LOG_LEVEL", "loud", "='loud' is not one of debug, info, warning, error"),
        ("LASTRO_BASE_URL", "ftp://user:secret@example.test", " is not an http:// or https:// URL"),
        ("LASTRO_MAX_BODY_BYTES", "0", "='0' is less than 1"),
        ("LASTRO_IDEMPOTENCY_DAYS", "6", "='6' is less than 7"),
        ("LASTRO_TRACE_RATIO", "1.5", "='1.5' is not between 0 and 1"),
        ("LASTRO_TRACE_RATIO", "nan", "='nan' is not a number"),
        ("LASTRO_TRACE_RATIO", "1e999", "='1e999' is not between 0 and 1"),
        (
            "LASTRO_MAX_BODY_BYTES",
            "\N{ARABIC-INDIC DIGIT THREE}",
            "='\N{ARABIC-INDIC DIGIT THREE}' is not a whole number",
        ),
        ("LASTRO_MAX_BODY_BYTES", "1_000", "='1_000' is not a whole number"),
        ("LASTRO_TRACE_RATIO", "half", "='half' is not a number"),
        ("LASTRO_SWEEP_BATCH", "1.5", "='1.5' is not a whole number"),
    ],
)
def test_an_invalid_setting_is_refused_with_what_is_accepted(name: str, text: str, error: str) -> None:
    """The error names the variable, its value and the accepted values; the value of a URL, which may contain a
    password, is not shown."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_environment({name: text})
    assert str(caught.value) == name + error


def test_all_invalid_settings_are_reported_at_once() -> None:
    """Of several invalid variables each is named, and names of levels and formats may be in upper case."""
    with pytest.raises(InvalidSettings, match=r"LASTRO_LOCK_SECONDS='soon' is not .*; LASTRO_LOG_FORMAT='xml' is not"):
        Settings.from_environment({"LASTRO_LOG_FORMAT": "xml", "LASTRO_LOCK_SECONDS": "soon"})
    assert Settings.from_environment({"LASTRO_LOG_LEVEL": "DEBUG"}).log_level == "debug"


def test_a_variable_that_resembles_a_setting_is_reported() -> None:
    """A misspelt variable is reported with the name that was probably meant; other names are not."""
    environment = {
        "LASTRO_MAX_BODY_BYTE": "1",
        "lastro_log_level": "debug",
        "LASTRO_COMMAND": "./lastro",
        "LASTRO_SWEEP_BATCH": "1",
        "LASTRO_XYZ": "1",
        "PATH": "/bin",
    }
    assert dict(misspelt(environment)) == {
        "LASTRO_MAX_BODY_BYTE": "LASTRO_MAX_BODY_BYTES",
        "lastro_log_level": "LASTRO_LOG_LEVEL",
    }
    assert list(misspelt({"LASTRO_SWEEP_BATCH": "1"})) == []


@pytest.mark.parametrize("value", [0, -1, 2**63, 1.0, "1", True, None])
def test_amounts_are_positive_64_bit_integers(value: object) -> None:
    """An amount must be an integer of at least one minor unit."""
    with pytest.raises(ValueError, match="value"):
        Amount.model_validate({"value": value, "currency": "BRL"})


@pytest.mark.parametrize("currency", ["brl", "XXX", "BR", "", None])
def test_currencies_are_iso_4217(currency: object) -> None:
    """An unknown currency is refused."""
    with pytest.raises(ValueError, match="currency"):
        Money.model_validate({"value": 1, "currency": currency})
