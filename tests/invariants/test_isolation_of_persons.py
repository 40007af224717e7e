"""A person's token shows nothing of another user of the same tenant, not even that it exists."""

from __future__ import annotations

import pytest

from tests.invariants.bodies import brl, over_rail, payment
from tests.invariants.isolation import (
    BODIES,
    BY_ID,
    LISTS,
    TENANT_OPERATIONS,
    UNKNOWN,
    Stage,
    every_row,
    path_of,
    stage,
    without_ids,
)
from tests.invariants.world import World

OWN = frozenset({"account_id", "payment_id", "deposit_id", "user_id"})
"""The path parameters of what a person can have."""


@pytest.fixture
async def made() -> Stage:
    """A tenant with one of each resource, whose attacker is another user of the same tenant."""
    made = await stage(lambda seed: World.in_memory(seed, interleaved=True))
    owner = await made.victim.user()
    made.own_account = await made.victim.account(owner=owner)
    made.attacker = made.victim.as_person(owner)
    return made


async def test_another_persons_id_is_answered_as_unknown(made: Stage) -> None:
    """Every operation with an id in its path answers a person for another user's id as for an unknown one, equal in
    every byte and header, and changes nothing."""
    stored, reached = await every_row(made), set()
    for name in BY_ID:
        operation = TENANT_OPERATIONS[name]
        body = None if operation.method == "GET" else BODIES.get(name, {})
        taken = await made.attacker.call(operation.method, path_of(operation, made.ids), body)
        nothing = await made.attacker.call(operation.method, path_of(operation, UNKNOWN), body)
        assert (taken.status, taken.code) in ((404, "not_found"), (403, "insufficient_scope")), name
        assert without_ids(taken) == without_ids(nothing), name
        assert set(taken.headers) == set(nothing.headers), name
        reached |= {name} if taken.status == 404 else set()
    assert await every_row(made) == stored
    # A person's token has the scope of these, so that it is the id that is refused.
    assert len(reached) >= 15


async def test_another_persons_account_in_a_body_is_answered_as_unknown() -> None:
    """A command of a person with another user's account, where it must be the person's own, is refused as one with an
    unknown id."""
    tenant = await (await World.with_rails()).tenant()
    owner = await tenant.user()
    own, theirs, unknown = await tenant.account(owner=owner), await tenant.account(), UNKNOWN["account_id"]
    person = tenant.as_person(owner)

    def commands(account: str) -> list[tuple[str, object]]:
        return [
            ("/v1/deposits", {"account_id": account, "amount": brl(100), "method": "pix"}),
            ("/v1/payments", payment(account, own, 100)),
            *(("/v1/payments", over_rail(method, account, 100)) for method in ("pix", "bank_transfer", "card")),
        ]

    for (path, body), (_, other) in zip(commands(theirs), commands(unknown), strict=True):
        taken = await person.call("POST", path, body)
        nothing = await person.call("POST", path, other)
        assert (taken.status, taken.code) == (422, "unknown_reference"), (body, taken.body)
        assert without_ids(taken) == without_ids(nothing), body


@pytest.mark.parametrize("name", LISTS)
async def test_lists_show_nothing_of_another_person(made: Stage, name: str) -> None:
    """A person's list, with or without a filter by another user's id, has nothing of the other user, and a cursor of
    the service is refused for a person."""
    operation = TENANT_OPERATIONS[name]
    if operation.path_parameters and set(operation.path_parameters) - OWN:
        return
    ids = {**made.ids, "payment_id": made.ids["settled_payment_id"]}
    page = await made.victim.get(path_of(operation, ids), "limit=1")
    own = {
        **ids,
        "account_id": made.own_account,
        "user_id": made.attacker.person or "",
        "payment_id": await made.attacker.pay(made.own_account, made.ids["account_id"], 1),
        "deposit_id": await made.attacker.deposit(made.own_account, 1),
    }
    path = path_of(operation, own)
    mine = await made.attacker.call("GET", path)
    assert mine.status in (200, 403), mine.body
    if mine.status == 403:
        return
    assert operation.query is not None
    seen = [mine.raw]
    for field_name in operation.query.model_fields:
        value = {"owner_id": made.ids["user_id"], "account": made.ids["account_id"]}.get(field_name)
        if value is not None and not operation.path_parameters:
            seen.append((await made.attacker.call("GET", path, query=f"{field_name}={value}")).raw)
    text = b"".join(seen).decode()
    hidden = {known for name, known in made.ids.items() if name != "account_id"}
    assert [known for known in hidden if known in text] == []
    if page["next_cursor"] is not None:
        stolen = await made.attacker.call("GET", path, query=f"limit=1&cursor={page['next_cursor']}")
        assert not [known for known in hidden if known in stolen.raw.decode()], stolen.body
