"""The story of `lastro demo --story marketplace`: many users who pay in, buy, are refunded, and are refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cli.demo import WAIT_SECONDS, Scenario, brl, taxpayer

_PAID_IN: Final = 100_00
_MERCHANTS_SHARE: Final = 10


def marketplace_actions(scenario: Scenario, users: int) -> list[Callable[[], object]]:
    """Return what the story does, in order: one of ten users is a merchant."""
    merchants = [f"Shop {number:03d}" for number in range(max(1, users // _MERCHANTS_SHARE))]
    customers = [f"Customer {number:03d}" for number in range(max(3, users - len(merchants)))]
    actions: list[Callable[[], object]] = [_call(scenario.join, name, "merchant") for name in merchants]
    for name in customers:
        actions += [_call(scenario.join, name, "customer"), _call(scenario.deposit, name, _PAID_IN)]
    for name in customers:
        actions.append(_call(_buy, scenario, name, random.choice(merchants)))  # noqa: S311 - who buys where
    return [
        *actions,
        _call(_limit, scenario, customers[0], merchants[0]),
        _call(_suspension, scenario, customers[1], merchants[0]),
        _call(_return, scenario, customers[2]),
        _call(_due_charge, scenario, merchants[0]),
        _call(_reconcile, scenario),
    ]


def _call(act: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: act(*arguments)


def _buy(scenario: Scenario, payer: str, payee: str) -> None:
    """Buy at once, in part, with a refund, or cancel."""
    value = random.randrange(4_00, 40_00)  # noqa: S311 - an amount
    kind = random.choice(["whole", "part", "refund", "cancel"])  # noqa: S311 - what happens
    if kind in ("whole", "refund"):
        payment = scenario.pay(payer, payee, value, "settled")
        if kind == "refund":
            scenario.refund(payment, payer, payee, value // 4)
        return
    payment = scenario.pay(payer, payee, value, "authorized", "manual")
    if kind == "part":
        scenario.capture(payment, payer, payee, value // 2)
    else:
        scenario.cancel(payment, payer)


def _limit(scenario: Scenario, payer: str, payee: str) -> None:
    """A payment above the account's limit is declined."""
    import json

    path = f"/v1/accounts/{scenario.accounts[payer]}"
    changed = scenario.client.send("PATCH", path, json.dumps({"limits": {"per_payment": 1_00}}).encode())
    scenario.note(f"{payer} may pay R$ 1 at once", "limited" if changed.ok else changed.text, "limited")
    scenario.pay(payer, payee, 1_01, "declined: limit_exceeded")


def _suspension(scenario: Scenario, payer: str, payee: str) -> None:
    """A suspended user's payment is declined, and the user is activated again."""
    owner = scenario.client.get(f"/v1/accounts/{scenario.accounts[payer]}")["owner_id"]
    for action, status in (("suspend", "suspended"), ("activate", "active")):
        user = scenario.client.post(f"/v1/users/{owner}/{action}")
        scenario.note(f"{payer} is made {status}", user["status"], status)
        if status == "suspended":
            scenario.pay(payer, payee, 1_00, "declined: user_suspended")


def _return(scenario: Scenario, name: str) -> None:
    """A part of what was paid in by PIX goes back to its payer."""
    body = {"account_id": scenario.accounts[name], "amount": brl(20_00), "method": "pix"}
    deposit = scenario.client.post("/v1/deposits", body, wait=WAIT_SECONDS)
    scenario.note(f"{name} is paid too much by PIX", deposit["status"], "settled", 20_00)
    path = f"/v1/deposits/{deposit['id']}/returns"
    made = scenario.client.post(path, {"amount": brl(5_00), "reason": "paid too much"}, wait=WAIT_SECONDS)
    scenario.note("a part of it is returned to its payer", made["status"], "settled", 5_00)
    scenario.owed[name] += 15_00


def _due_charge(scenario: Scenario, name: str) -> None:
    """A charge with a due date is paid early, with its discount; then a part of the payment is reported as a fraud."""
    import json

    client = scenario.client
    due = {
        "date": (datetime.now(UTC) + timedelta(days=10)).date().isoformat(),
        "debtor": {"name": "Maria Silva", "document": taxpayer("cpf")},
        "fine": {"basis_points": 200},
        "discounts": [{"until": (datetime.now(UTC) + timedelta(days=5)).date().isoformat(), "amount": brl(5_00)}],
    }
    body = {"account_id": scenario.accounts[name], "amount": brl(50_00), "due": due}
    charge = client.post("/v1/pix/charges", body)
    scenario.note(f"{name} charges R$ 50, due in ten days", charge["status"], "active", 50_00)
    code = json.dumps({"br_code": charge["br_code"]}).encode()
    if client.send("POST", "/simulators/pix/payments", code).status == 404:
        return  # The provider is not the simulator of this platform: no stranger's bank can be made to pay.
    charge = scenario.until(lambda: client.get(f"/v1/pix/charges/{charge['txid']}"), charge, "paid")
    scenario.note("it is paid early, with a discount", charge["status"], "paid", 45_00)
    scenario.owed[name] += 45_00
    _fraud(scenario, name, charge["end_to_end_id"])


def _fraud(scenario: Scenario, name: str, payment: str) -> None:
    """The payer's bank reports a part of a payment as a fraud (MED), and the tenant accepts the report."""
    client = scenario.client
    client.post("/simulators/pix/frauds", {"endToEndId": payment, "valor": "20.00"})

    def newest() -> dict[str, Any]:
        reports = client.get(f"/v1/pix/fraud-reports?account={scenario.accounts[name]}&limit=1")["data"]
        return reports[0] if reports else {"status": "not reported"}

    report = scenario.until(newest, newest(), "open")
    scenario.note("a part of it is reported as a fraud, and held", report["status"], "open", 20_00)
    accepted = client.post(f"/v1/pix/fraud-reports/{report['id']}/accept", {"reason": "the payer was deceived"})
    scenario.note(f"the report on {name} is accepted", accepted["status"], "accepted")
    path = f"/v1/returns/{accepted['return_id']}"
    returned = scenario.until(lambda: client.get(path), client.get(path), "settled")
    scenario.note("what was held goes back to the payer", returned["status"], "settled", 20_00)
    scenario.owed[name] -= 20_00


def _reconcile(scenario: Scenario) -> None:
    """What the provider reported today is matched with the clearing account."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    period = {"from": today.isoformat(), "to": (today + timedelta(days=1)).isoformat()}
    found = scenario.client.post("/v1/reconciliations", {"provider": "pix", **period})
    reported = [item for item in found["items"] if item["provider"] is not None]
    matched = sum(item["status"] == "matched" for item in reported)
    scenario.note("PIX's reports of today in the ledger", str(matched), str(len(reported)))
