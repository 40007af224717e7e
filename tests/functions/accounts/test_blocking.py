"""Blocking accounts, for debits or for all movements, and unblocking them."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest

from events.accounts import AccountBlocked, AccountUnblocked
from functions.accounts._states import ACCOUNT_CHANGES
from shared.ports.documents import Query
from shared.records.accounts import ACCOUNTS, AccountStatus
from shared.records.charges import RECEIPTS
from shared.records.deposits import DEPOSITS
from tests.functions.providers.rail import callback, deposit, report, with_rail
from tests.harness import Answer, Harness

STATUSES: tuple[AccountStatus, ...] = get_args(AccountStatus)


async def block(harness: Harness, account_id: str, **body: Any) -> Answer:
    """Request the block of an account."""
    return await harness.call("POST", f"/v1/accounts/{account_id}/block", body)


async def unblock(harness: Harness, account_id: str) -> Answer:
    """Request that the account is unblocked."""
    return await harness.call("POST", f"/v1/accounts/{account_id}/unblock")


async def two_accounts(harness: Harness) -> tuple[str, str]:
    """Open an account with 10.00, and one without money."""
    return (await harness.account(1000))["id"], (await harness.account())["id"]


async def paid(harness: Harness, payer: str, payee: str) -> tuple[str, str | None]:
    """Pay 3.00 and return the status of the payment and its failure code."""
    payment_id = (await harness.pay(payer, payee, 300))["id"]
    await harness.run_events()
    payment = await harness.payment(payment_id)
    return payment["status"], None if payment["failure"] is None else payment["failure"]["code"]


async def test_a_block_is_shown_and_published(harness: Harness) -> None:
    """The response, a later GET and the list show the status and the block; the fact has the mode and not the
    reason."""
    account_id = (await harness.account())["id"]
    answer = await block(harness, account_id, mode="all", reason="A court has ordered it")
    assert (answer.status, answer.json["status"]) == (200, "blocked")
    assert answer.json["block"] == {"mode": "all", "reason": "A court has ordered it"}
    assert (await harness.call("GET", f"/v1/accounts/{account_id}")).json == answer.json
    assert (await harness.call("GET", "/v1/accounts")).json["data"] == [answer.json]
    assert [fact.mode for fact in harness.events_of(AccountBlocked, account_id)] == ["all"]
    assert b"court" not in harness.events[-1].data


@pytest.mark.parametrize("body", [{}, {"mode": None}, None, {"mode": "debits", "reason": None}])
async def test_the_default_mode_is_debits(harness: Harness, body: Any) -> None:
    """A block without a mode is for debits."""
    account_id = (await harness.account())["id"]
    answer = await harness.call("POST", f"/v1/accounts/{account_id}/block", body)
    assert answer.json["block"] == {"mode": "debits", "reason": None}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"mode": "credits"}, "/mode"), ({"mode": 1}, "/mode"), ({"reason": "x" * 501}, "/reason"), ({"to": 1}, "/to")],
)
async def test_an_invalid_block_is_refused(harness: Harness, body: Any, pointer: str) -> None:
    """An invalid field is answered with 422 and a pointer, and the account stays active."""
    account_id = (await harness.account())["id"]
    answer = await block(harness, account_id, **body)
    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert (await harness.call("GET", f"/v1/accounts/{account_id}")).json["status"] == "active"


@pytest.mark.parametrize("mode", ["debits", "all"])
async def test_a_blocked_account_does_not_pay(harness: Harness, mode: str) -> None:
    """Payments from a blocked account are declined as `account_blocked`; after the block they are paid."""
    payer, payee = await two_accounts(harness)
    await block(harness, payer, mode=mode)
    assert await paid(harness, payer, payee) == ("declined", "account_blocked")
    assert await harness.balance(payer) == (1000, 0, 1000)
    answer = await unblock(harness, payer)
    assert (answer.status, answer.json["status"], answer.json["block"]) == (200, "active", None)
    assert len(harness.events_of(AccountUnblocked, payer)) == 1
    assert await paid(harness, payer, payee) == ("settled", None)


@pytest.mark.parametrize(("mode", "outcome"), [("debits", ("settled", None)), ("all", ("declined", "account_blocked"))])
async def test_a_blocked_account_receives_unless_it_is_blocked_for_all(
    harness: Harness, mode: str, outcome: tuple[str, str | None]
) -> None:
    """A payment to an account that is blocked for debits settles, and to one that is blocked for all is declined."""
    payer, payee = await two_accounts(harness)
    await block(harness, payee, mode=mode)
    assert await paid(harness, payer, payee) == outcome


@pytest.mark.parametrize(
    ("blocked", "mode", "status"),
    [
        ("payee", "debits", "failed"),
        ("payee", "all", "failed"),
        ("payer", "debits", "settled"),
        ("payer", "all", "failed"),
    ],
)
async def test_refunds_and_blocks(harness: Harness, blocked: str, mode: str, status: str) -> None:
    """A refund from a blocked account fails, and so does one to an account that is blocked for all."""
    payer, payee = await two_accounts(harness)
    payment_id = (await harness.pay(payer, payee, 300))["id"]
    await harness.run_events()
    await block(harness, payee if blocked == "payee" else payer, mode=mode)
    refund = await harness.call("POST", f"/v1/payments/{payment_id}/refunds")
    assert refund.status == 201
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/refunds/{refund.json['id']}")).json
    assert ended["status"] == status
    assert ended["failure"] is None or ended["failure"]["code"] == "account_blocked"
    assert (await harness.balance(payee))[0] == (0 if status == "settled" else 300)


async def test_a_deposit_to_an_account_that_is_blocked_for_all_fails(harness: Harness) -> None:
    """The deposit is made, and fails as `account_blocked` before the provider is asked."""
    await with_rail(harness)
    account_id = (await harness.account())["id"]
    await block(harness, account_id, mode="all")
    made = await deposit(harness, account_id)
    await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "account_blocked")


async def test_money_that_arrives_for_an_account_blocked_for_all_is_not_credited(harness: Harness) -> None:
    """When the account is blocked after the charge was requested, its payment is stored as unmatched and the deposit
    fails."""
    await with_rail(harness)
    account_id = (await harness.account())["id"]
    made = await deposit(harness, account_id)
    await harness.run_events()
    await block(harness, account_id, mode="all")
    stored = await harness.documents.get(DEPOSITS, "acme", made["id"])
    assert stored is not None
    for _ in range(2):
        assert (await callback(harness, report(stored["txid"]))).status == 200
        await harness.run_events()
    ended = (await harness.call("GET", f"/v1/deposits/{made['id']}")).json
    assert (ended["status"], ended["failure"]["code"]) == ("failed", "account_blocked")
    [receipt] = await harness.documents.find(RECEIPTS, "acme", Query())
    assert (receipt["status"], receipt["reason"]) == ("unmatched", "account_blocked")
    assert await harness.balance(account_id) == (0, 0, 0)


async def test_a_hold_from_before_the_block_is_captured(harness: Harness) -> None:
    """A payment that is authorized when its payer's account is blocked can be captured."""
    payer, payee = await two_accounts(harness)
    payment_id = (await harness.pay(payer, payee, 300, capture="manual"))["id"]
    await harness.run_events()
    await block(harness, payer, mode="all")
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/capture")).status == 200
    await harness.run_events()
    assert (await harness.payment(payment_id))["status"] == "settled"


async def test_a_capture_for_an_account_blocked_for_all_is_refused(harness: Harness) -> None:
    """An authorized payment is not captured while its payee's account takes no credits; afterwards it is."""
    payer, payee = await two_accounts(harness)
    payment_id = (await harness.pay(payer, payee, 300, capture="manual"))["id"]
    await harness.run_events()
    await block(harness, payee, mode="all")
    answer = await harness.call("POST", f"/v1/payments/{payment_id}/capture", key="c")
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert (await harness.payment(payment_id))["status"] == "authorized"
    await unblock(harness, payee)
    assert (await harness.call("POST", f"/v1/payments/{payment_id}/capture", key="c")).status == 200


async def test_an_account_that_is_blocked_between_hold_and_authorization_is_not_paid(harness: Harness) -> None:
    """When the payee's account is blocked for all after the hold was committed, the payment is declined and the hold
    released."""
    payer, payee = await two_accounts(harness)
    payment_id = (await harness.pay(payer, payee, 300))["id"]
    await harness.step("accounts/hold_funds")
    await block(harness, payee, mode="all")
    await harness.run_events()
    payment = await harness.payment(payment_id)
    assert (payment["status"], payment["failure"]["code"]) == ("declined", "account_blocked")
    assert await harness.balance(payer) == (1000, 0, 1000)


async def test_a_block_can_change_its_mode(harness: Harness) -> None:
    """A blocked account can be blocked in the other mode, with another reason, and not in the same one."""
    account_id = (await harness.account())["id"]
    await block(harness, account_id, reason="first")
    answer = await block(harness, account_id, mode="all")
    assert (answer.status, answer.json["block"]) == (200, {"mode": "all", "reason": None})
    again = await block(harness, account_id, mode="all")
    assert (again.status, again.code) == (409, "illegal_state")
    assert [fact.mode for fact in harness.events_of(AccountBlocked, account_id)] == ["debits", "all"]


async def test_a_blocked_account_can_be_closed(harness: Harness) -> None:
    """A blocked account without money and holds is closed."""
    account_id = (await harness.account())["id"]
    await block(harness, account_id, mode="all")
    answer = await harness.call("POST", f"/v1/accounts/{account_id}/close")
    assert (answer.status, answer.json["status"]) == (200, "closed")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("action", "to"), [("block", "blocked"), ("unblock", "active")])
async def test_each_action_in_each_status(harness: Harness, status: AccountStatus, action: str, to: str) -> None:
    """An action is accepted in the statuses from which a caller may change the account, and is 409 elsewhere, without
    a change or a fact."""
    account_id = (await harness.account())["id"]
    await harness.alter(ACCOUNTS, account_id, status=status, block_mode="debits" if status == "blocked" else None)
    before, events = await harness.documents.get(ACCOUNTS, "acme", account_id), len(harness.events)
    allowed = {("active", "blocked"), ("blocked", "blocked"), ("blocked", "active")}
    body = {"mode": "all"} if action == "block" else None
    answer = await harness.call("POST", f"/v1/accounts/{account_id}/{action}", body)
    if (status, to) in allowed:
        assert (answer.status, answer.json["status"]) == (200, to)
        return
    assert (answer.status, answer.code) == (409, "illegal_state")
    assert await harness.documents.get(ACCOUNTS, "acme", account_id) == before
    assert len(harness.events) == events


@pytest.mark.parametrize("status", STATUSES)
def test_the_legal_changes_of_an_account_are_those_of_the_design(status: AccountStatus) -> None:
    """An account changes from each status only to those of the design, and never from `closed`."""
    legal = {
        "active": {"blocked", "closing"},
        "blocked": {"blocked", "active", "closing"},
        "closing": {"closed", "active", "blocked"},
    }
    assert ACCOUNT_CHANGES[status] == legal.get(status, set())


async def test_a_repeated_block_is_one_block(crowded: Harness) -> None:
    """Ten concurrent requests with one key block once; each gets the same response or 409 `request_in_progress`."""
    account_id = (await crowded.account())["id"]
    path = f"/v1/accounts/{account_id}/block"
    answers = await asyncio.gather(*(crowded.call("POST", path, {}, key="once") for _ in range(10)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert len(crowded.events_of(AccountBlocked)) == 1
    assert (await crowded.call("POST", path, {}, key="once")).headers["idempotent-replayed"] == "true"


async def test_of_blocks_at_once_one_wins(crowded: Harness) -> None:
    """Of concurrent blocks with several keys one is accepted, and the others find the account blocked."""
    account_id = (await crowded.account())["id"]
    path = f"/v1/accounts/{account_id}/block"
    answers = await asyncio.gather(*(crowded.call("POST", path, {}) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [200, *[409] * 5]
    assert len(crowded.events_of(AccountBlocked)) == 1


@pytest.mark.parametrize("action", ["block", "unblock"])
async def test_another_tenants_account_is_not_found(harness: Harness, action: str) -> None:
    """Another tenant's account is answered as an unknown one, and stays as it is."""
    account_id = (await harness.account())["id"]
    await harness.tenant("rival")
    for id in (account_id, "acc_0"):
        answer = await harness.call("POST", f"/v1/accounts/{id}/{action}", tenant="rival")
        assert (answer.status, answer.code) == (404, "not_found")
    assert (await harness.call("GET", f"/v1/accounts/{account_id}")).json["status"] == "active"


async def test_blocking_requires_its_scope(harness: Harness) -> None:
    """Blocking and unblocking require `accounts:write`."""
    account_id = (await harness.account())["id"]
    for action in ("block", "unblock"):
        answer = await harness.call("POST", f"/v1/accounts/{account_id}/{action}", scopes=["accounts:read"])
        assert answer.code == "insufficient_scope"


async def test_an_account_of_an_earlier_version_is_shown_and_blocked(harness: Harness) -> None:
    """A stored account without the fields of this version is shown and can be blocked."""
    account_id = (await harness.account())["id"]
    await harness.forget(ACCOUNTS, account_id, "block_reason")
    assert (await harness.call("GET", f"/v1/accounts/{account_id}")).json["block"] is None
    await harness.alter(ACCOUNTS, account_id, status="blocked", block_mode="debits")
    assert (await harness.call("GET", f"/v1/accounts/{account_id}")).json["block"] == {"mode": "debits", "reason": None}
    assert (await unblock(harness, account_id)).status == 200
