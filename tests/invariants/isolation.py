"""For attacks on the isolation of tenants and persons: the operations that take an id, a tenant with one of each
resource, and ids of nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from embedded.broker.delivery import Outcome, dead_letter
from shared.http.operation import Access, HttpOperation
from shared.messaging.operation import EventOperation
from shared.records.payments import PAYMENTS
from tests.cnab import content
from tests.invariants.bodies import brl, payment
from tests.invariants.books import everything
from tests.invariants.conftest import Make
from tests.invariants.deliveries import Pending, deliveries_of, http_operations, operations, the_plan
from tests.invariants.tenant import Answer, Tenant
from tests.invariants.world import World

TENANT_OPERATIONS = {o.id: o for o in http_operations() if o.access is Access.TENANT}


BY_ID = sorted(name for name, operation in TENANT_OPERATIONS.items() if operation.path_parameters)


LISTS = sorted(name for name, o in TENANT_OPERATIONS.items() if o.query and "cursor" in o.query.model_fields)


SETTLEMENT = {"content": content()}


DAY = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}


BODIES: dict[str, Any] = {
    "operations/discard_dead_letter": {"reason": "not wanted"},
    "providers/reject_fraud_report": {"reason": "not a fraud"},
    "providers/match_movements": {"ledger": ["ltr_1.0"], "provider": [], "reason": "the same money"},
    "payments/resolve_review": {"outcome": "failed", "reason": "not wanted"},
}
"""Bodies of the operations that require one."""


UNKNOWN = {
    "user_id": "usr_019b76daa800700099999999999fffff",
    "account_id": "acc_019b76daa800700099999999999fffff",
    "payment_id": "pay_019b76daa800700099999999999fffff",
    "refund_id": "rfd_019b76daa800700099999999999fffff",
    "deposit_id": "dep_019b76daa800700099999999999fffff",
    "report_id": "frd_019b76daa800700099999999999fffff",
    "return_id": "ret_019b76daa800700099999999999fffff",
    "txid": "019b76daa800700099999999999fffff",
    "code_txid": "Unknown",
    "reconciliation_id": "rec_019b76daa800700099999999999fffff",
    "file_id": "stf_019b76daa800700099999999999fffff",
    "transfer_id": "ltr_019b76daa800700099999999999fffff",
    "dead_letter_id": "dlt_019b76daa800700099999999999fffff",
    "delivery_id": "whd_019b76daa800700099999999999fffff",
    "endpoint_id": "whe_019b76daa800700099999999999fffff",
}
"""Unknown ids, by the path parameter."""


@dataclass
class Stage:
    """Two tenants. The first (the victim) has one of each resource, the second only an account."""

    world: World
    victim: Tenant
    attacker: Tenant
    ids: dict[str, str] = field(default_factory=dict)
    own_account: str = ""


async def stage(make: Make) -> Stage:
    """Create both tenants and the resources of the first."""
    world = await make(0)
    made = Stage(world, await world.tenant("victim"), await world.tenant("attacker"))
    victim, ids = made.victim, made.ids
    ids["user_id"] = await victim.user()
    await victim.call("PATCH", f"/v1/users/{ids['user_id']}", {"name": "Ana Lima"})
    ids["account_id"] = payer = await victim.account(owner=ids["user_id"])
    ids["deposit_id"] = await victim.fund(payer, 1000)
    ids["txid"] = (await victim.made("/v1/pix/charges", {"account_id": payer, "amount": brl(10)}))["txid"]
    await victim.made("/v1/pix/charges", {"account_id": payer, "amount": brl(20)})
    for _ in range(2):
        ids["code_txid"] = (await victim.made("/v1/pix/static-codes", {"account_id": payer}))["txid"]
        ids["return_id"] = (await victim.made(f"/v1/deposits/{ids['deposit_id']}/returns", {"amount": brl(1)}))["id"]
    for number in range(2):
        await world.report_fraud(ids["deposit_id"], 1, f"fraud-{number}", victim.id)
    ids["report_id"] = (await victim.listed("/v1/pix/fraud-reports"))[0]["id"]
    payee = await victim.account()
    settled = await victim.pay(payer, payee, 300)
    await world.settle()
    ids["refund_id"] = (await victim.made(f"/v1/payments/{settled}/refunds", {"amount": brl(100)}))["id"]
    await victim.made(f"/v1/payments/{settled}/refunds", {"amount": brl(50)})
    ids["payment_id"] = await victim.pay(payer, payee, 200, capture="manual")
    ids["settled_payment_id"] = settled
    await world.settle()
    (row,) = [p for p in await everything(world, victim.id, PAYMENTS) if p["id"] == settled]
    ids["transfer_id"] = row["transfer_id"]
    ids["reconciliation_id"] = (await victim.made("/v1/reconciliations", DAY))["id"]
    ids["file_id"] = (await victim.made("/v1/settlement-files", SETTLEMENT))["id"]
    ids["dead_letter_id"] = await park_something(made)
    ids["endpoint_id"] = await endpoint(victim)
    await endpoint(victim)
    for _ in range(2):
        await victim.account()
    await world.settle()
    sent = await victim.listed(f"/v1/webhook-endpoints/{ids['endpoint_id']}/deliveries")
    ids["delivery_id"] = sent[0]["id"]
    made.own_account = await made.attacker.account()
    return made


async def endpoint(tenant: Tenant) -> str:
    """Create a webhook endpoint for new accounts and return its id."""
    body = {"url": "https://hooks.example.com/", "events": ["lastro.account.opened.v1"]}
    return str((await tenant.made("/v1/webhook-endpoints", body))["id"])


async def park_something(made: Stage) -> str:
    """Send two undeliverable events of the victim to the dead letter sink, and return the id of one dead letter."""
    for event in [e for e in made.world.pool.published if e.tenant_id == made.victim.id][-2:]:
        url = "http://payments-settle.lastro.svc.cluster.local"
        pending = deliveries_of(event) or [Pending(next(iter(_subscriptions())), event, dead_letter_sink())]
        letter = dead_letter(event, url, Outcome.DEAD, None)
        await made.world.deliver(Pending(pending[0].subscription, letter, dead_letter_sink()))
    return str((await made.victim.listed("/v1/dead-letters"))[0]["id"])


def _subscriptions() -> Any:
    return the_plan().subscriptions


def dead_letter_sink() -> EventOperation:
    """Return the function that stores dead letters."""
    sink = operations()["operations-park-dead-letter"]
    assert isinstance(sink, EventOperation)
    return sink


def path_of(operation: HttpOperation, ids: dict[str, str]) -> str:
    """Return the operation's path with these ids."""
    return operation.path.format(**{name: ids[name] for name in operation.path_parameters})


def without_ids(answer: Answer) -> bytes:
    """Return an answer without the ids in it, which differ between requests."""
    ids = rb"[a-z]{3}_[0-9a-f]{32}|sys_[a-z_]+|(?<=/charges/)[0-9a-f]{32}|(?<=/static-codes/)\w+"
    text = re.sub(ids, b"<id>", answer.raw)
    return re.sub(rb'"request_id":"[^"]*"', b"", text)


async def every_row(made: Stage) -> str:
    """Return all documents of the victim, as text."""
    rows = made.world.runtime.documents._rows  # type: ignore[attr-defined]  # the stage is in memory
    return repr(sorted((key, repr(row)) for key, row in rows.items() if key[1] == made.victim.id))


def bodies_with(account_id: str, user_id: str, own: str) -> list[tuple[str, Any, str]]:
    """Return every command that contains an id, with the pointer to it."""
    return [
        ("/v1/accounts", {"owner_id": user_id, "currency": "BRL"}, "/owner_id"),
        ("/v1/deposits", {"account_id": account_id, "amount": brl(100), "method": "pix"}, "/account_id"),
        ("/v1/pix/charges", {"account_id": account_id, "amount": brl(100)}, "/account_id"),
        ("/v1/pix/static-codes", {"account_id": account_id}, "/account_id"),
        ("/v1/payments", payment(account_id, own, 100), "/payer_account_id"),
        ("/v1/payments", payment(own, account_id, 100), "/payee_account_id"),
    ]


OTHER_REFERENCES = frozenset(
    {
        ("/v1/reconciliations/{reconciliation_id}/match", "/ledger"),
        ("/v1/reconciliations/{reconciliation_id}/match", "/provider"),
        ("/v1/dead-letters/replay", "/cursor"),
        ("/v1/settlement-files", "/content"),
        ("/v1/users", "/document/number"),
        ("/v1/pix/charges", "/txid"),
        ("/v1/pix/static-codes", "/txid"),
    }
)
"""Fields of commands that name something without being the id of one document. Each has a test of its own."""
NO_IDS = frozenset(
    "reason currency metadata description reference name email phone since until from to before type consumer "
    "push_token url events key br_code bank branch bank_account/number holder/document/number "
    "debtor/document/number due/date token".split()
)
"""The ends of the pointers to fields that are texts, and no ids of anything that a tenant has."""


def texts_of(command: type[BaseModel], base: str = "") -> Iterator[str]:
    """Yield the pointer to every field of a command that is a text or a list of texts, also in the objects in it."""
    for name, field_info in command.model_fields.items():
        pointer = f"{base}/{field_info.alias or name}"
        inner = [each for each in _types_in(field_info.annotation) if isinstance(each, type)]
        models = [each for each in inner if issubclass(each, BaseModel)]
        for model in models:
            yield from texts_of(model, pointer)
        if not models and str in inner:
            yield pointer


def _types_in(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and everything in it, such as the items of a list and the members of a union."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for argument in get_args(annotation):
            yield from _types_in(argument)
