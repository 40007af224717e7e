"""OpenTelemetry's own environment variables: reading and validation.

The SDK reads most of them itself; for an invalid value it logs a warning and uses a default, or sends nothing. Here an
invalid value stops the process instead. docs/settings.md lists the supported variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

from shared.core.settings import InvalidSettings

DEFAULT_METRIC_SECONDS: Final = 60.0
_SIGNALS: Final = ("", "TRACES_", "METRICS_")
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_PARENT_BASED: Final = "parentbased_"
_WHOLE_NUMBERS: Final = (
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_METRIC_EXPORT_INTERVAL",
)
# A name is that of an HTTP field; a value is printable text without a comma, URL-encoded or not.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[\x20-\x2b\x2d-\x7e]*")
_ATTRIBUTE: Final = re.compile(r"[^=,\s]+[ \t]*=[^,]*")
_PROPAGATOR: Final = "tracecontext"
_PROPAGATORS: Final = frozenset({_PROPAGATOR, "none"})


@dataclass(frozen=True, slots=True)
class OtlpVariables:
    """What the OTEL_* variables configure: which signals are exported, sampling, and how often metrics are."""

    traces: bool
    metrics: bool
    ratio: float
    """The share of traces that is sampled, from 0 to 1."""
    parent_based: bool
    """Whether the sampling decision of the process that began a trace is followed."""
    metric_seconds: float
    """The seconds between two exports of metrics."""


def read_variables(environment: Mapping[str, str], ratio: float) -> OtlpVariables:
    """Read the environment. `ratio` is used when it has no sampler. Raises InvalidSettings, with all invalid
    variables."""
    set_here = {name: text.strip() for name, text in environment.items() if name.startswith("OTEL_") and text.strip()}
    wrong = _wrong(set_here)
    sampler, parent_based = _sampler(set_here, wrong)
    argument = _sampler_argument(set_here, wrong)
    if wrong:
        raise InvalidSettings("; ".join(wrong))
    disabled = set_here.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return OtlpVariables(
        traces=not disabled and _is_sent(set_here, "TRACES"),
        metrics=not disabled and _is_sent(set_here, "METRICS"),
        ratio={"always_on": 1.0, "always_off": 0.0, "traceidratio": argument}.get(sampler, ratio),
        parent_based=parent_based,
        metric_seconds=float(set_here.get("OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_METRIC_SECONDS * 1000)) / 1000,
    )


def _is_sent(environment: Mapping[str, str], signal: str) -> bool:
    named = "OTEL_EXPORTER_OTLP_ENDPOINT" in environment or f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT" in environment
    return named and environment.get(f"OTEL_{signal}_EXPORTER") != "none"


def _wrong(environment: Mapping[str, str]) -> list[str]:
    """Return the errors of variables that have fixed values, a URL, a number or headers."""
    wrong = [
        f"{name}={environment[name]!r} is not one of {', '.join(accepted)}"
        for name, accepted in _CHOICES.items()
        if name in environment and environment[name].lower() not in accepted
    ]
    for signal in _SIGNALS:
        endpoint, timeout, headers = (
            f"OTEL_EXPORTER_OTLP_{signal}{name}" for name in ("ENDPOINT", "TIMEOUT", "HEADERS")
        )
        if not environment.get(endpoint, "http://").startswith(("http://", "https://")):
            wrong.append(f"{endpoint} is not an http:// or https:// URL")
        if not _is_above_zero(environment.get(timeout, "1")):
            wrong.append(f"{timeout}={environment[timeout]!r} is not a number of seconds above 0")
        # The value is not shown, because it is probably an access key.
        if not all(_HEADER.fullmatch(part.strip()) for part in environment.get(headers, "").split(",") if part.strip()):
            wrong.append(f"{headers} is not a list of the form name=value,name=value")
    resource = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if not all(_ATTRIBUTE.fullmatch(part.strip()) for part in resource.split(",") if part.strip()):
        wrong.append("OTEL_RESOURCE_ATTRIBUTES is not a list of the form name=value,name=value")
    unknown = {part.strip().lower() for part in environment.get("OTEL_PROPAGATORS", _PROPAGATOR).split(",")}
    if unknown - _PROPAGATORS:
        shown = environment["OTEL_PROPAGATORS"]
        wrong.append(f"OTEL_PROPAGATORS={shown!r} is not {_PROPAGATOR}, the only propagation that there is")
    return wrong + [
        f"{name}={environment[name]!r} is not a whole number above 0"
        for name in _WHOLE_NUMBERS
        if name in environment and not (environment[name].isdigit() and int(environment[name]) > 0)
    ]


def _is_above_zero(text: str) -> bool:
    try:
        return isfinite(float(text)) and float(text) > 0
    except ValueError:
        return False


def _sampler(environment: Mapping[str, str], wrong: list[str]) -> tuple[str, bool]:
    """Return the kind of the sampler ("" for none), and whether it is parent-based."""
    text = environment.get("OTEL_TRACES_SAMPLER", "").lower()
    kind = text.removeprefix(_PARENT_BASED)
    if text and kind not in _SAMPLERS:
        accepted = (*_SAMPLERS, *(_PARENT_BASED + name for name in _SAMPLERS))
        wrong.append(f"OTEL_TRACES_SAMPLER={text!r} is not one of {', '.join(accepted)}")
    return kind, not text or text.startswith(_PARENT_BASED)


def _sampler_argument(environment: Mapping[str, str], wrong: list[str]) -> float:
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "1")
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        wrong.append(f"OTEL_TRACES_SAMPLER_ARG={text!r} is not a number between 0 and 1")
    return ratio


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "OTEL_SDK_DISABLED": ("true", "false"),
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    "OTEL_METRICS_EXPORTER": ("otlp", "none"),
    "OTEL_LOGS_EXPORTER": ("none",),
    **{f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL": ("http/protobuf",) for signal in _SIGNALS},
    **{f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION": ("none", "gzip", "deflate") for signal in _SIGNALS},
}
