"""Durations in the manifests: ISO 8601 in `delivery`, Go's format in annotations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_ISO: Final = re.compile(r"P[0-9.,WDTHMS]+")
_GO_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(h|ms|m|s|us|µs|ns)")
_GO_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def iso_seconds(text: str) -> float:
    """Return the seconds of an ISO 8601 duration of fixed length, such as `PT1M30S`. Raises ValueError, also for years
    and months, which have no fixed length."""
    import isodate

    try:
        duration = isodate.parse_duration(text) if _ISO.fullmatch(text) else None
    except (ValueError, OverflowError):
        duration = None
    # The library reads "PT" as zero; the standard requires at least one element.
    if not isinstance(duration, timedelta) or text.endswith(("P", "T")):
        raise ValueError(f"{text!r} is not an ISO 8601 duration of fixed length, such as PT0.2S or PT1M30S")
    return duration.total_seconds()


def go_seconds(text: str) -> float:
    """Return the seconds of a Go duration, such as `1m30s`. Raises ValueError for other text and for a negative
    duration."""
    pieces = _GO_DURATION.findall(text)
    if text == "0":
        return 0.0
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is not a duration of Go, such as 90s or 1m30s")
    return sum(float(number) * _GO_UNITS[unit] for number, unit in pieces)
