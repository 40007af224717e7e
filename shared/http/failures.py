"""Why something came to nothing, as it is stored and as it is answered."""

from __future__ import annotations

from shared.http.models import Resource
from shared.records.failure import FailureDocument


class FailureResource(Resource):
    """Why it came to nothing."""

    code: str
    detail: str


def failure_resource(failure: FailureDocument | None) -> FailureResource | None:
    """The reason as it is answered; None where nothing failed."""
    return None if failure is None else FailureResource(code=failure["code"], detail=failure["detail"])
