"""A tenant of the platform under test, which sends signed requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.core.clock import format_time
from shared.http import signing
from shared.http.messages import HttpRequest, HttpResponse
from tests.invariants.bodies import brl, cpf, payment

if TYPE_CHECKING:
    from tests.invariants.world import World

MOST_ATTEMPTS: Final = 60
"""The number of times that a delivery may be refused temporarily before the test fails."""


@dataclass(slots=True)
class Answer:
    """The response to a request."""

    status: int
    body: Any
    headers: dict[str, str]
    raw: bytes

    @property
    def code(self) -> str | None:
        """The problem's code."""
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass(slots=True)
class Tenant:
    """A tenant and its signing key. `person` is the user whose token is sent, or None for a token of a service."""

    world: World
    id: str
    key_id: str
    secret: str
    person: str | None = None

    def as_person(self, user_id: str) -> Tenant:
        """Return a client of the tenant with the token of one of its users."""
        return replace(self, person=user_id)

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, query: str = ""
    ) -> Answer:
        """Send a signed request; a POST without `key` gets a new key."""
        content = b"" if body is None else orjson.dumps(body)
        token = self.id if self.person is None else f"{self.id}/{self.person}"
        headers = {"authorization": f"Bearer {token}"}
        if method != "GET":
            headers["content-type"] = "application/json"
            headers["idempotency-key"] = key or f"key-{next(self.world.numbers)}"
        answer = await self.world.request(self.signed(method, path, query, headers, content))
        for _ in range(MOST_ATTEMPTS if self.world.outbox is not None else 0):
            if answer.status != 503 and answer.code != "request_in_progress":
                break
            await asyncio.sleep(0)
            answer = await self.world.request(self.signed(method, path, query, headers, content))
        return answer

    def signed(self, method: str, path: str, query: str, headers: dict[str, str], content: bytes) -> HttpRequest:
        """Return the request with a new signature, so that a command can be repeated under its key."""
        signed = dict(headers)
        if method != "GET":
            # The timestamp has digits beyond the microsecond, so that no two signatures are equal.
            timestamp = f"{format_time(self.world.clock.now())[:-1]}{next(self.world.numbers):09d}Z"
            canonical = signing.canonical_string(
                method, path, query, content, self.id, headers["idempotency-key"], timestamp, self.key_id
            )
            signed |= {"x-timestamp": timestamp, "x-key-id": self.key_id}
            signed["x-signature"] = signing.sign(self.secret, canonical)
        return HttpRequest(method, path, query, signed, content)

    async def get(self, path: str, query: str = "") -> Any:
        """Send a GET, which must succeed, and return its body."""
        answer = await self.call("GET", path, query=query)
        assert answer.status == 200, answer.body
        return answer.body

    async def listed(self, path: str, query: str = "") -> list[Any]:
        """Return all items of a list, page by page."""
        found: list[Any] = []
        page = await self.get(path, f"limit=100&{query}" if query else "limit=100")
        while True:
            found += page["data"]
            if page["next_cursor"] is None:
                return found
            page = await self.get(path, f"limit=100&cursor={page['next_cursor']}")

    async def made(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Send a POST, which must succeed, and return its body."""
        answer = await self.call("POST", path, body, key=key)
        assert answer.status in (200, 201), answer.body
        return answer.body

    async def user(self) -> str:
        """Register a customer and return its id."""
        body = {
            "kind": "customer",
            "name": "Ana Souza",
            "document": {"type": "cpf", "number": cpf(next(self.world.numbers))},
            "email": "ana@example.com",
        }
        return str((await self.made("/v1/users", body))["id"])

    async def account(self, posted: int = 0, *, overdraft: int = 0, owner: str | None = None) -> str:
        """Open an account in BRL with a balance of `posted` minor units, and return its id."""
        body = {"owner_id": owner or await self.user(), "currency": "BRL", "overdraft_limit": overdraft}
        account_id = str((await self.made("/v1/accounts", body))["id"])
        if posted:
            await self.fund(account_id, posted)
        return account_id

    async def fund(self, account_id: str, amount: int) -> str:
        """Deposit an amount, deliver all events of the deposit, and return its id. Other deliveries stay in the
        pool."""
        before, self.world.pool.pending = self.world.pool.pending, []
        deposit = await self.deposit(account_id, amount)
        await self.world.settle()
        await self.world.pay_charges()
        await self.world.settle()
        self.world.pool.pending = before
        assert (await self.get(f"/v1/deposits/{deposit}"))["status"] == "settled"
        return deposit

    async def deposit(self, account_id: str, amount: int) -> str:
        """Request a deposit and return its id."""
        body = {"account_id": account_id, "amount": brl(amount), "method": "pix"}
        return str((await self.made("/v1/deposits", body))["id"])

    async def pay(self, payer: str, payee: str, amount: int, **more: Any) -> str:
        """Request a payment and return its id."""
        return str((await self.made("/v1/payments", payment(payer, payee, amount, **more)))["id"])

    async def status(self, payment_id: str) -> str:
        """Return a payment's status."""
        return str((await self.get(f"/v1/payments/{payment_id}"))["status"])


def answer_of(response: HttpResponse) -> Answer:
    is_picture = response.headers.get("content-type", "").startswith("image/")
    body = orjson.loads(response.body) if response.body and not is_picture else None
    return Answer(response.status, body, response.headers, response.body)
