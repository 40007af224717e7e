"""The reason of a failure, as events carry it."""

from pydantic import BaseModel, ConfigDict


class Failure(BaseModel):
    """Why an operation failed: a stable code for programs and a sentence for people."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str
