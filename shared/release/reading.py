"""Reads what was measured of a release from JSON."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.release.decision import Observation
from shared.release.indicators import LAG, OBJECTIVES, Kind, Measured

_KNOWN: Final = {**OBJECTIVES, LAG.key: LAG}


class InvalidObservation(ValueError):
    """The text does not describe a release. It says which part is wrong."""


class _Figure(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    observations: Annotated[int, Field(ge=0)] = 0


class _Release(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    is_ready: bool | None = None
    measured: dict[str, _Figure]


def read_observation(text: str | bytes) -> Observation:
    """Return the observation in `{"minutes": 12, "is_ready": true, "measured": {"errors": {"value": 0.0,
    "observations": 5000}}}`.

    The keys of `measured` are those of OBJECTIVES and `lag`; a share is from 0 to 1, times are in seconds. Raises
    InvalidObservation.
    """
    try:
        found = _Release.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidObservation(f"{where}: {first['msg']}" if where else str(first["msg"])) from None
    for key, figure in found.measured.items():
        if key not in _KNOWN:
            raise InvalidObservation(f"measured.{key}: known are {', '.join(_KNOWN)}")
        if _KNOWN[key].kind is Kind.SHARE and figure.value > 1:
            raise InvalidObservation(f"measured.{key}: a share is from 0 to 1")
    measured = {key: Measured(figure.value, figure.observations) for key, figure in found.measured.items()}
    return Observation(measured, found.minutes, found.is_ready)
