"""Why something that was asked for did not come about."""

from pydantic import BaseModel, ConfigDict


class Failure(BaseModel):
    """Why something did not come about."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str
