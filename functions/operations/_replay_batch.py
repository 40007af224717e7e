"""The replay of parked dead letters by a filter, page by page: the command, its result, and the work."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from functions.operations._dead_letter import replay_parked
from shared.context.context import Context
from shared.core.problems import Problem
from shared.http.models import Command, Instant, Resource, Time
from shared.http.pages import decode_cursor, encode_cursor
from shared.ports.documents import Place, Query
from shared.records.dead_letters import DEAD_LETTERS

PAGE: Final = 100
"""How many dead letters one request looks at."""


class ReplayDeadLetters(Command):
    """Which parked dead letters are replayed: all, or those that fit every filter."""

    type: str | None = Field(default=None, max_length=255, description="Only events of this CloudEvents type.")
    consumer: str | None = Field(default=None, max_length=255, description="Only those of this function.")
    before: Instant | None = Field(
        default=None,
        description="Only those that were parked before this time (RFC 3339), at most the time of the first request: "
        "what fails again is not replayed again.",
    )
    cursor: str | None = Field(
        default=None, max_length=2048, description="`next_cursor` of the answer before. Without it, from the oldest on."
    )


class ReplayedDeadLetters(Resource):
    """What one request has done."""

    examined: int = Field(description="How many parked dead letters were looked at, at most 100.")
    replayed: list[str] = Field(description="The ids of those that were replayed.")
    before: Time = Field(description="The time before which they were parked.")
    next_cursor: str | None = Field(description="Send it as `cursor` to go on; null when nothing is left.")


async def replay_page(command: ReplayDeadLetters, ctx: Context) -> ReplayedDeadLetters:
    """Replay the parked dead letters of the next page that fit the filters. Raises Problem `malformed_request`."""
    given = {"type": command.type, "consumer": command.consumer, "before": command.before}
    filters, after = decode_cursor(ctx, command.cursor, given)
    before = min(filters.get("before", ctx.now_text), ctx.now_text)
    query = Query(
        {"status": "parked"},
        ranges={"parked_at": (None, before)},
        order_by="parked_at",
        limit=PAGE,
        after=_place(after),
    )
    found = await ctx.find(DEAD_LETTERS, query)
    fitting = [
        letter
        for letter in found
        if filters.get("type") in (None, letter["event"]["type"])
        and filters.get("consumer") in (None, letter["consumer"])
    ]
    for letter in fitting:
        replay_parked(letter, ctx)
    following = None
    if len(found) == PAGE:
        last = found[-1]
        following = encode_cursor(ctx, {**filters, "before": before}, f"{last['parked_at']} {last['id']}")
    return ReplayedDeadLetters(
        examined=len(found), replayed=[letter["id"] for letter in fitting], before=before, next_cursor=following
    )


def _place(after: str | None) -> Place | None:
    if after is None:
        return None
    parked_at, _, id = after.partition(" ")
    if not id:
        raise Problem.parameter("malformed_request", "cursor", "The cursor is not valid.")
    return Place(parked_at, id)
