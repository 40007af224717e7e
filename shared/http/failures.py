"""The failure reason of a payment, refund or deposit in a response."""

from __future__ import annotations

from pydantic import Field

from shared.http.models import Resource
from shared.records.failure import FailureDocument


class FailureResource(Resource):
    """Why a payment, refund or deposit failed."""

    code: str = Field(description="The reason, such as `insufficient_funds`. Its page is `/problems/<code>`.")
    detail: str = Field(description="The reason in a sentence, for people.")


def failure_resource(failure: FailureDocument | None) -> FailureResource | None:
    """Return the failure reason for a response, or None when there is none."""
    return None if failure is None else FailureResource(code=failure["code"], detail=failure["detail"])
