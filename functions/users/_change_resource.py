"""An entry in the history of a user, as a resource of the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import Field

from shared.context.context import Context
from shared.http.models import CreatedAt, Resource
from shared.records.users import UserAction, UserChangeDocument


class ChangedField(Resource):
    """A changed field of a user."""

    field: str = Field(description="The name of the field.")
    before: str | dict[str, str] | None = Field(description="The value before the change, or null.")
    after: str | dict[str, str] | None = Field(description="The value after the change, or null.")


class UserChange(Resource):
    """An entry in the history of a user."""

    id: str = Field(description="The entry's id, `uch_…`.")
    action: UserAction = Field(description="What was done.")
    client_id: str | None = Field(description="The client that requested it; null for the platform itself.")
    actor_user_id: str | None = Field(description="The person in whose name the client requested it, or null.")
    reason: str | None = Field(description="The caller's reason, or null.")
    changes: list[ChangedField] = Field(description="The changed fields; empty unless the action is `updated`.")
    created_at: CreatedAt


async def change_resources(ctx: Context, entries: Sequence[UserChangeDocument]) -> list[UserChange]:
    """Return the resources of entries. One call of the secrets port opens their contents."""
    sealed = [entry["content"] for entry in entries if entry["content"] is not None]
    contents = iter(await ctx.secrets.open(sealed) if sealed else ())
    return [_resource(entry, None if entry["content"] is None else orjson.loads(next(contents))) for entry in entries]


def _resource(entry: UserChangeDocument, content: dict[str, Any] | None) -> UserChange:
    return UserChange(
        id=entry["id"],
        action=entry["action"],
        client_id=entry["client_id"],
        actor_user_id=entry["actor_user_id"],
        reason=None if content is None else content["reason"],
        changes=[] if content is None else [ChangedField(**change) for change in content["changes"]],
        created_at=entry["created_at"],
    )
