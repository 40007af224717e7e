"""Durations as the manifests write them: ISO 8601 in `delivery`, Go's own form in annotations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_ISO: Final = re.compile(r"P[0-9.,WDTHMS]+")
_GO_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|m|s|us|µs|ns)")
_GO_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def iso_seconds(text: str) -> float:
    """Seconds of an ISO 8601 duration of fixed length, `PT1M30S`. Raises ValueError: years and months have none."""
    import isodate

    try:
        duration = isodate.parse_duration(text) if _ISO.fullmatch(text) else None
    except (ValueError, OverflowError):
        duration = None
    # The library takes "PT" for no time at all; the standard wants at least one element.
    if not isinstance(duration, timedelta) or text.endswith(("P", "T")):
        raise ValueError(f"{text!r} is no ISO 8601 duration of fixed length, such as PT0.2S or PT1M30S")
    return duration.total_seconds()


def go_seconds(text: str) -> float:
    """Seconds of a Go duration, `1m30s`. Raises ValueError when it is none, or negative."""
    pieces = _GO_DURATION.findall(text)
    if text == "0":
        return 0.0
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is no duration of Go, such as 90s or 1m30s")
    return sum(float(number) * _GO_UNITS[unit] for number, unit in pieces)
