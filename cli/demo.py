"""`lastro demo`: a series of payments with a check of the results."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.client import Client
from cli.errors import CliError
from cli.ledger import is_balanced, trial_balance_table
from cli.options import DEFAULT_DATA_DIR, PROGRAM, DataDir, Json, Tenant
from cli.output import console, money, print_json

if TYPE_CHECKING:
    from rich.table import Table

WAIT_SECONDS: Final = 10
_PATIENCE_SECONDS: Final = 10.0
_MOST_STEPS: Final = 40
STORIES: Final = ("payments", "marketplace")


@dataclass(slots=True)
class Step:
    """A step of the demo: what was done, with which amount, the outcome, and the outcome that was expected."""

    what: str
    amount: str
    outcome: str
    expected: str

    @property
    def ok(self) -> bool:
        """Whether the outcome is the expected one."""
        return self.outcome == self.expected


@dataclass(slots=True)
class Scenario:
    """The accounts of the demo, its steps, and the expected balances in minor units."""

    client: Client
    accounts: dict[str, str] = field(default_factory=dict)
    payments: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    owed: dict[str, int] = field(default_factory=dict)

    def note(self, what: str, outcome: str, expected: str, value: int | None = None) -> None:
        """Add a step and its outcome. `value` is its amount in centavos; None when it moves no money."""
        self.steps.append(Step(what, "" if value is None else money(brl(value)), outcome, expected))

    def join(self, name: str, kind: str) -> None:
        """Register a user and open an account."""
        number = taxpayer("cnpj" if kind == "merchant" else "cpf")
        user = self.client.post(
            "/v1/users",
            {"kind": kind, "name": name, "document": number, "email": f"{name.partition(' ')[0].lower()}@example.com"},
        )
        account = self.client.post("/v1/accounts", {"owner_id": user["id"], "currency": "BRL"})
        self.accounts[name] = account["id"]
        self.owed[name] = 0
        self.note(f"{name} joins as a {kind}", account["status"], "active")

    def deposit(self, name: str, value: int) -> None:
        """Deposit an amount by PIX."""
        body = {"account_id": self.accounts[name], "amount": brl(value), "method": "pix"}
        deposit = self.client.post("/v1/deposits", body, wait=WAIT_SECONDS)
        self.note(f"{name} pays in by PIX", deposit["status"], "settled", value)
        self.owed[name] += value

    def pay(self, payer: str, payee: str, value: int, expected: str, capture: str = "automatic") -> dict[str, Any]:
        """Pay from one account to another; the outcome has the reason when the payment is declined."""
        body = {
            "amount": brl(value),
            "method": "internal",
            "payer_account_id": self.accounts[payer],
            "payee_account_id": self.accounts[payee],
            "capture": capture,
            "description": f"{payer} to {payee}",
        }
        payment: dict[str, Any] = self.client.post("/v1/payments", body, wait=WAIT_SECONDS)
        failure = payment["failure"]
        outcome = payment["status"] if failure is None else f"{payment['status']}: {failure['code']}"
        how = " (captured later)" if capture == "manual" else ""
        self.note(f"{payer} pays {payee}{how}", outcome, expected, value)
        if outcome == "settled":
            self._moved(payer, payee, value)
        return payment

    def capture(self, payment: dict[str, Any], payer: str, payee: str, value: int) -> None:
        """Capture a part of an authorized payment; the rest of the hold is released."""
        path = f"/v1/payments/{payment['id']}/capture"
        captured = self.client.post(path, {"amount": brl(value)}, wait=WAIT_SECONDS)
        captured = self.until(lambda: self.client.get(f"/v1/payments/{payment['id']}"), captured, "settled")
        self.note(f"{payee} captures a part of it", captured["status"], "settled", value)
        self._moved(payer, payee, value)

    def cancel(self, payment: dict[str, Any], payer: str) -> None:
        """Cancel an authorized payment."""
        canceled = self.client.post(f"/v1/payments/{payment['id']}/cancel", {"reason": "changed their mind"})
        self.note(f"{payer}'s payment is canceled", canceled["status"], "canceled")

    def refund(self, payment: dict[str, Any], payer: str, payee: str, value: int) -> None:
        """Refund a part of a payment."""
        path = f"/v1/payments/{payment['id']}/refunds"
        refund = self.client.post(path, {"amount": brl(value), "reason": "goodwill"}, wait=WAIT_SECONDS)
        self.note(f"{payee} refunds {payer} a part", refund["status"], "settled", value)
        self._moved(payee, payer, value)

    def retry(self, payer: str, payee: str, value: int) -> None:
        """Send one payment twice with one idempotency key, and check that it has one effect."""
        import json

        body = {
            "amount": brl(value),
            "method": "internal",
            "payer_account_id": self.accounts[payer],
            "payee_account_id": self.accounts[payee],
        }
        key = secrets.token_hex(8)
        answers = [
            self.client.send(
                "POST", "/v1/payments", json.dumps(body).encode(), key=key, headers={"prefer": f"wait={WAIT_SECONDS}"}
            )
            for _ in range(2)
        ]
        same = answers[0].text == answers[1].text and answers[1].headers.get("idempotent-replayed") == "true"
        outcome = "one payment" if same and answers[0].ok else "two answers"
        self.note(f"{payer} orders the same payment twice", outcome, "one payment", value)
        self._moved(payer, payee, value)

    def check_balances(self) -> list[dict[str, Any]]:
        """Check that every balance is as expected."""
        found = []
        for name, account_id in self.accounts.items():
            balance = self._settled_balance(account_id, self.owed[name])
            found.append({"name": name, **balance})
            outcome = f"{money(brl(balance['available']))} available"
            self.note(f"{name} is left with", outcome, f"{money(brl(self.owed[name]))} available")
        return found

    def check_statement(self, name: str) -> list[dict[str, Any]]:
        """Check that the last line of a statement agrees with the balance."""

        def read() -> dict[str, Any]:
            page: dict[str, Any] = self.client.get(f"/v1/accounts/{self.accounts[name]}/statement?limit=100")
            return page

        deadline = time.monotonic() + _PATIENCE_SECONDS
        lines: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            lines = read()["data"]
            if lines and lines[-1]["balance_after"]["value"] == self.owed[name]:
                break
            time.sleep(0.05)
        last = lines[-1]["balance_after"]["value"] if lines else 0
        self.note(f"{name}'s statement ends with", money(brl(last)), money(brl(self.owed[name])))
        return lines

    def _settled_balance(self, account_id: str, expected: int) -> dict[str, Any]:
        path = f"/v1/accounts/{account_id}/balance"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        balance: dict[str, Any] = self.client.get(path)
        while balance["available"] != expected and time.monotonic() < deadline:
            time.sleep(0.05)
            balance = self.client.get(path)
        return balance

    def until(self, read: Callable[[], dict[str, Any]], found: dict[str, Any], status: str) -> dict[str, Any]:
        """Read a resource again until it has the status, for at most ten seconds, and return it."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while found["status"] != status and time.monotonic() < deadline:
            time.sleep(0.05)
            found = read()
        return found

    def _moved(self, payer: str, payee: str, value: int) -> None:
        self.owed[payer] -= value
        self.owed[payee] += value


def brl(value: int) -> dict[str, Any]:
    """Return an amount in reais, from centavos."""
    return {"value": value, "currency": "BRL"}


ANA: Final = "Ana Souza"
BRUNO: Final = "Bruno Lima"
SHOP: Final = "Padaria Real"


def _actions(scenario: Scenario) -> list[Callable[[], object]]:
    """Return what the demo does, in order."""
    kept: dict[str, dict[str, Any]] = scenario.payments

    def keep(name: str, make: Callable[[], dict[str, Any]]) -> Callable[[], object]:
        def step() -> None:
            kept[name] = make()

        return step

    return [
        lambda: scenario.join(ANA, "customer"),
        lambda: scenario.join(BRUNO, "customer"),
        lambda: scenario.join(SHOP, "merchant"),
        lambda: scenario.deposit(ANA, 500_00),
        lambda: scenario.deposit(BRUNO, 100_00),
        keep("first", lambda: scenario.pay(ANA, SHOP, 120_50, "settled")),
        lambda: scenario.pay(BRUNO, SHOP, 250_00, "declined: insufficient_funds"),
        keep("held", lambda: scenario.pay(ANA, SHOP, 80_00, "authorized", "manual")),
        lambda: scenario.capture(kept["held"], ANA, SHOP, 60_00),
        keep("doubted", lambda: scenario.pay(BRUNO, SHOP, 30_00, "authorized", "manual")),
        lambda: scenario.cancel(kept["doubted"], BRUNO),
        lambda: scenario.refund(kept["first"], ANA, SHOP, 20_50),
        lambda: scenario.refund(kept["first"], ANA, SHOP, 10_00),
        lambda: scenario.retry(BRUNO, SHOP, 12_34),
    ]


def demo(
    *,
    story: Annotated[str, typer.Option("--story", help="payments, or marketplace with many users.")] = "payments",
    users: Annotated[int, typer.Option("--users", min=4, max=1000, help="The users of the marketplace.")] = 200,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Run a series of payments on the platform and print the results.

    Deposits, payments, a declined one, a partial capture, a cancellation, refunds, a retry. The story `marketplace` has
    200 users, limits, a suspension, a charge with a due date, a report of fraud and a
    reconciliation. Ends with 1 when a result is not as expected.
    """
    if story not in STORIES:
        raise CliError(f"there is no story {story}: choose one of {', '.join(STORIES)}", 2)
    from rich.console import Console
    from rich.progress import track

    shown = Console(stderr=True)
    with Client.of(data_dir, tenant=tenant) as client:
        scenario = Scenario(client)
        actions = _actions(scenario) if story == "payments" else _marketplace(scenario, users)
        for act in track(actions, description="Running the demo", console=shown, disable=as_json, transient=True):
            act()
        balances = scenario.check_balances()
        person = next(iter(scenario.accounts))
        lines = scenario.check_statement(person)
        trial = client.get("/v1/ledger/trial-balance")
    scenario.note("debits equal credits", "yes" if is_balanced(trial) else "no", "yes")
    ok = all(step.ok for step in scenario.steps)
    if as_json:
        steps = [{**asdict(step), "ok": step.ok} for step in scenario.steps]
        print_json({"ok": ok, "steps": steps, "balances": balances, "statement": lines, "trial_balance": trial})
    else:
        _print(scenario, person, lines, trial)
    if not ok:
        raise CliError("the demo has unexpected results: see the lines marked ✗")


def _marketplace(scenario: Scenario, users: int) -> list[Callable[[], object]]:
    from cli.marketplace import marketplace_actions

    return marketplace_actions(scenario, users)


def _print(scenario: Scenario, person: str, lines: list[dict[str, Any]], trial: dict[str, Any]) -> None:
    out = console()
    out.print(_steps_table(_shown_steps(scenario.steps)), soft_wrap=False)
    if len(scenario.steps) > _MOST_STEPS:
        good = sum(step.ok for step in scenario.steps)
        out.print(f"{good} of {len(scenario.steps)} steps as expected; the last ones and the others are shown")
    out.print()
    names = {number: name for name, number in scenario.accounts.items()}
    out.print(_statement_table(person, lines, names), soft_wrap=False)
    for entry in trial["data"]:
        out.print()
        out.print(trial_balance_table(entry))
    if "first" in scenario.payments:
        first = scenario.payments["first"]["id"]
        out.print(f"\n[dim]The timeline of a payment:[/] {PROGRAM} payments show {first}")


def _shown_steps(steps: list[Step]) -> list[Step]:
    """Return the steps that are not as expected, and the last ones, in their order."""
    return [step for number, step in enumerate(steps) if not step.ok or number >= len(steps) - _MOST_STEPS]


def _steps_table(steps: list[Step]) -> Table:
    from rich.table import Table

    table = Table(title="Steps", header_style="bold")
    table.add_column("")
    table.add_column("step")
    table.add_column("amount", justify="right")
    table.add_column("outcome")
    for step in steps:
        outcome = step.outcome if step.ok else f"[red]{step.outcome}[/], expected {step.expected}"
        table.add_row("[green]✓[/]" if step.ok else "[red]✗[/]", step.what, step.amount, outcome)
    return table


def _statement_table(person: str, lines: list[dict[str, Any]], names: dict[str, str]) -> Table:
    from rich.table import Table

    table = Table(title=f"{person}'s statement", header_style="bold")
    table.add_column("when")
    table.add_column("description")
    table.add_column("amount", justify="right")
    table.add_column("balance", justify="right")
    for line in lines:
        sign, way = ("-", "to") if line["direction"] == "debit" else ("+", "from")
        other = line["counterparty_account_id"] or "several"
        table.add_row(
            line["recorded_at"][11:23],
            line["description"] or f"{way} {names.get(other, other)}",
            sign + money(line["amount"]),
            money(line["balance_after"]),
        )
    return table


def taxpayer(kind: str) -> dict[str, str]:
    """Return a random taxpayer number, which is most probably unused."""
    from shared.core import tax_ids

    length, check = (9, tax_ids.cpf) if kind == "cpf" else (12, tax_ids.cnpj)
    while True:
        base = "".join(random.choices("0123456789", k=length))  # noqa: S311 - a made-up person's number
        for digits in range(100):
            try:
                return {"type": kind, "number": check(f"{base}{digits:02d}")}
            except ValueError:
                continue
