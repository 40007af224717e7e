"""The annotations of Knative's autoscaler on the template of a Service, by the rules of Serving's webhook."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from embedded.manifests.durations import go_seconds
from embedded.manifests.findings import FieldError

PREFIX: Final = "autoscaling.knative.dev/"
MIN_WINDOW_SECONDS: Final = 6.0
MAX_WINDOW_SECONDS: Final = 3600.0
_MAX_INT32: Final = 2**31 - 1
_INTEGER: Final = re.compile(r"[0-9]{1,10}")
_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Raise FieldError, whose path is the name of the annotation, unless Knative's autoscaler accepts all annotations.

    A cluster ignores unknown annotations of the autoscaler. Here they are refused: a misspelt min-scale would scale a
    core function to zero.
    """
    for name, value in annotations.items():
        if not name.startswith(PREFIX):
            continue
        check = _CHECKS.get(name.removeprefix(PREFIX))
        if check is None:
            raise FieldError("Knative's autoscaler has no annotation of this name", name)
        try:
            check(value)
        except ValueError as error:
            raise FieldError(str(error), name) from None
    least, most = (int(annotations.get(f"{PREFIX}{name}", "0")) for name in ("min-scale", "max-scale"))
    if 0 < most < least:
        raise FieldError(f"{most} is less than the min-scale {least}", f"{PREFIX}max-scale")


def scale(annotations: Mapping[str, str], name: str) -> int:
    """Return the number in a checked annotation, or 0 when it is absent."""
    return int(annotations.get(PREFIX + name, "0"))


def seconds(annotations: Mapping[str, str], name: str, default: float) -> float:
    """Return the duration in a checked annotation, in seconds."""
    text = annotations.get(PREFIX + name)
    return default if text is None else go_seconds(text)


def _whole(least: int) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not _INTEGER.fullmatch(text) or not least <= int(text) <= _MAX_INT32:
            raise ValueError(f"{text!r} is not a whole number from {least} to {_MAX_INT32}")

    return check


def _number(least: float, most: float = float("inf")) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not _DECIMAL.fullmatch(text) or not least <= float(text) <= most:
            bounds = f"of at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
            raise ValueError(f"{text!r} is not a number {bounds}")

    return check


def _duration(least: float, *, whole: bool = True) -> Callable[[str], None]:
    def check(text: str) -> None:
        found = go_seconds(text)
        if not least <= found <= MAX_WINDOW_SECONDS:
            raise ValueError(f"{text!r} is not from {least:g} s to {MAX_WINDOW_SECONDS:g} s")
        if whole and found != int(found):
            raise ValueError(f"{text!r} is not a whole number of seconds")

    return check


def _one_of(*values: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in values:
            raise ValueError(f"{text!r} is not one of {', '.join(values)}")

    return check


def _burst(text: str) -> None:
    if text != "-1":
        _number(0)(text)


_CHECKS: Final[dict[str, Callable[[str], None]]] = {
    "class": _one_of(f"kpa.{PREFIX[:-1]}", f"hpa.{PREFIX[:-1]}"),
    "metric": _one_of("concurrency", "rps", "cpu", "memory"),
    "min-scale": _whole(0),
    "max-scale": _whole(0),
    # 0 requires a feature flag of the cluster that is off by default.
    "initial-scale": _whole(1),
    "activation-scale": _whole(2),
    "target": _number(0.01),
    "target-utilization-percentage": _number(1, 100),
    "target-burst-capacity": _burst,
    "panic-window-percentage": _number(1, 100),
    "panic-threshold-percentage": _number(110, 1000),
    "window": _duration(MIN_WINDOW_SECONDS),
    "scale-down-delay": _duration(0),
    "scale-to-zero-pod-retention-period": _duration(0, whole=False),
    "metric-aggregation-algorithm": _one_of("linear", "weighted-exponential", "weightedExponential"),
}
