"""A payment on a cluster from outside: what `kind:smoke`, `cluster:smoke` and the tests of the test cluster do."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cli.client import Answer, Client
from cli.errors import CliError
from deployment.commands import DeploymentFailed

WAIT_SECONDS: Final = 600
AMOUNT: Final = 1_00
"""What each payment is, in centavos."""
FUNDS: Final = 100_00
"""What the payer has before it, in centavos."""
_PAUSE_SECONDS: Final = 0.5
_RETRIED: Final = frozenset({404, 409, 429, 500, 502, 503, 504})


def until(condition: Callable[[], Any], what: str, *, seconds: float = WAIT_SECONDS) -> Any:
    """Return what `condition` returns once it is true. Raises DeploymentFailed after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise DeploymentFailed(f"{what}: not within {seconds:.0f} s")
        time.sleep(_PAUSE_SECONDS)


@dataclass
class Load:
    """Payments of one payer, each repeated under its key until it is accepted."""

    client: Client
    payer: str
    payee: str
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0

    def pay(self) -> None:
        """Order a payment of one real, again and again until it is accepted. Raises CliError when it is refused."""
        key = secrets.token_hex(8)
        body = payment_between(self.payer, self.payee)
        answer = until(lambda: self._sent(key, body), "a payment is accepted")
        self.accepted[key] = json.loads(answer.text)

    def _sent(self, key: str, body: Mapping[str, Any]) -> Answer | None:
        answer = sent(self.client, "/v1/payments", key, body)
        self.refused += answer is None
        return answer

    def statuses(self) -> list[str]:
        """Return the status of each accepted payment."""
        return [read(self.client, f"/v1/payments/{payment['id']}")["status"] for payment in self.accepted.values()]


def pay_once(client: Client, *, rail: bool = True) -> Iterator[tuple[str, float]]:
    """Open two accounts and pay once, and yield each step with the seconds that it took.

    The payer's funds are a deposit by PIX, or without a rail an overdraft. Raises DeploymentFailed when a step has no
    outcome, and CliError when one is refused.
    """
    begin = time.monotonic()

    def passed() -> float:
        nonlocal begin
        seconds, begin = time.monotonic() - begin, time.monotonic()
        return seconds

    payer = open_account(client, "Ana Souza", new_cpf(), overdraft=0 if rail else FUNDS)
    payee = open_account(client, "Bruno Lima", new_cpf())
    yield "two accounts are open", passed()
    if rail:
        deposit(client, payer, FUNDS)
        yield "a deposit by PIX is in the account", passed()
    load = Load(client, payer, payee)
    load.pay()
    yield "a signed payment is accepted", passed()
    until(lambda: load.statuses() == ["settled"], "the payment is settled")
    yield "and settled", passed()
    until(lambda: read(client, f"/v1/accounts/{payee}/balance")["available"] == AMOUNT, "the payee's balance")
    yield "and in the payee's balance", passed()


def show_payment(client: Client, *, rail: bool = True) -> None:
    """Pay once, and print each step when it is done. Raises as `pay_once`."""
    for what, seconds in pay_once(client, rail=rail):
        print(f"{what} ({seconds:.1f} s)", flush=True)


def ordered(client: Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a POST under one key until it is answered, and return the answer's body. Raises CliError when it is
    refused."""
    key = secrets.token_hex(8)
    answer: Answer = until(lambda: sent(client, path, key, body), f"POST {path} is accepted")
    found: dict[str, Any] = answer.body
    return found


def read(client: Client, path: str) -> Any:
    """Send a GET until it is answered, and return the answer's body. Raises CliError when it is refused."""

    def answered() -> Answer | None:
        try:
            answer = client.send("GET", path)
        except CliError:
            return None
        return accepted(answer)

    return until(answered, f"an answer to GET {path}").body


def sent(client: Client, path: str, key: str, body: Mapping[str, Any]) -> Answer | None:
    """Send a POST once, and return its answer, or None when it may be sent again under the key. Raises CliError when it
    is refused for good."""
    try:
        answer = client.send("POST", path, json.dumps(body).encode(), key=key)
    except CliError:
        return None
    return accepted(answer)


def accepted(answer: Answer) -> Answer | None:
    """Return the answer of a request that was accepted, or None when the request may be sent again.

    Raises CliError when it is refused for good.
    """
    if answer.ok:
        return answer
    if answer.status not in _RETRIED:
        raise CliError(f"{answer.status} {answer.text}")
    return None


def payment_between(payer: str, payee: str) -> dict[str, Any]:
    """Return the body of a payment of one real between two accounts."""
    return {
        "amount": {"value": AMOUNT, "currency": "BRL"},
        "method": "internal",
        "payer_account_id": payer,
        "payee_account_id": payee,
        "capture": "automatic",
        "description": "load",
    }


def deposit(client: Client, account: str, value: int) -> None:
    """Deposit an amount by PIX and wait until the account has it."""
    amount = {"value": value, "currency": "BRL"}
    ordered(client, "/v1/deposits", {"account_id": account, "amount": amount, "method": "pix"})
    until(lambda: read(client, f"/v1/accounts/{account}/balance")["available"] == value, "the deposit")


def new_cpf() -> str:
    """Return a random taxpayer number with valid check digits, which is most probably unused."""
    digits = [secrets.randbelow(10) for _ in range(9)]
    for _ in range(2):
        total = sum(digit * weight for digit, weight in zip(digits, range(len(digits) + 1, 1, -1), strict=True))
        digits.append(0 if total % 11 < 2 else 11 - total % 11)
    return "".join(map(str, digits))


def open_account(client: Client, name: str, cpf: str, *, overdraft: int = 0) -> str:
    """Register a person and open an account, and return the account's id. The overdraft is in centavos."""
    document = {"type": "cpf", "number": cpf}
    person = {"kind": "customer", "name": name, "document": document, "email": "load@example.com"}
    user = ordered(client, "/v1/users", person)
    account = {"owner_id": user["id"], "currency": "BRL"} | ({"overdraft_limit": overdraft} if overdraft else {})
    return str(ordered(client, "/v1/accounts", account)["id"])
