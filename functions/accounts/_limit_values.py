"""The limits of an account in a request body."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from functions.accounts._limits import LIMIT_NAMES, LimitName
from shared.core.money import MAX_MINOR_UNITS
from shared.http.models import Command

Limit = Annotated[int, Field(ge=0, le=MAX_MINOR_UNITS)]


class LimitValues(Command):
    """Limits of the payments from an account, in minor units of its currency."""

    per_payment: Limit | None = Field(
        default=None, description="The largest amount of one payment. Null removes the limit."
    )
    per_day: Limit | None = Field(
        default=None,
        description="The most that is paid in a day by the clock of São Paulo, night included. Null removes the limit.",
    )
    per_night: Limit | None = Field(
        default=None,
        description="The most that is paid in a night, from 20:00 to 06:00 by the clock of São Paulo. Null removes the "
        "limit.",
    )

    def given(self) -> dict[LimitName, int | None]:
        """Return the limits that the request names, null ones included."""
        values: dict[LimitName, int | None] = {
            "per_payment": self.per_payment,
            "per_day": self.per_day,
            "per_night": self.per_night,
        }
        return {name: values[name] for name in LIMIT_NAMES if name in self.model_fields_set}
