"""A client that is written only from the contract, and the platform that it calls."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from embedded.platform.platform import Options, Platform
from shared.core.clock import Clock, ManualClock, SystemClock
from shared.core.settings import Settings
from tests.contract.wire import Answer, Wire, served
from tests.waiting import PATIENCE_SECONDS

TOKEN_PATH = "/realms/lastro/protocol/openid-connect/token"
# With this variable, each function runs behind its own framework application, as in its container.
FAITHFUL = os.environ.get("LASTRO_TEST_FAITHFUL") == "1"
RENEW_SECONDS = 60.0
_numbers = count(1)

Pairs = tuple[tuple[str, str], ...]


def unused_key() -> str:
    """Return an unused Idempotency-Key."""
    return f"key-{next(_numbers)}"


def as_body(value: Any) -> bytes:
    """Return the JSON bytes of a value; bytes are unchanged, and None is no body."""
    if isinstance(value, bytes):
        return value
    return b"" if value is None else json.dumps(value).encode()


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key with its secret."""

    id: str
    secret: str

    def sign(
        self,
        method: str,
        target: str,
        body: bytes,
        *,
        tenant_id: str,
        timestamp: str,
        idempotency_key: str = "",
        key_id: str | None = None,
    ) -> str:
        """Return X-Signature over the canonical string, which is implemented here again from the contract."""
        path, _, raw_query = target.partition("?")
        lines = (
            "v1",
            method,
            path,
            raw_query,
            sha256(body).hexdigest(),
            tenant_id,
            idempotency_key,
            timestamp,
            self.id if key_id is None else key_id,
        )
        digest = hmac.digest(self.secret.encode(), "\n".join(lines).encode("latin-1"), "sha256")
        return "v1=" + b64encode(digest).decode()


@dataclass(slots=True)
class Access:
    """An access token, and the function that gets another one before it expires on a slow machine."""

    token: str
    another: Callable[[], Awaitable[str]] | None = None
    """None for a token that must not be replaced: a forged one, or one whose clock only the test moves."""
    got_at: float = field(default_factory=time.monotonic)

    async def renew_when_old(self) -> None:
        """Replace a token that is more than a minute old."""
        if self.another is not None and time.monotonic() > self.got_at + RENEW_SECONDS:
            self.token = await self.another()
            self.got_at = time.monotonic()


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a token and, if it is a tenant's, a signing key."""

    wire: Wire
    clock: Clock
    access: Access
    tenant_id: str = ""
    key: Key | None = None

    @property
    def token(self) -> str:
        return self.access.token

    def with_token(self, token: str) -> Client:
        """Return the same client with this token."""
        return replace(self, access=Access(token))

    def timestamp(self) -> str:
        """Return X-Timestamp for now, different each time."""
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.") + f"{next(_numbers) % 1_000_000:06d}Z"

    def headers(
        self, method: str, target: str, body: bytes, *, key: str | None = None, timestamp: str | None = None
    ) -> dict[str, str]:
        """Return the headers of a valid request. `key` is its Idempotency-Key; by default a POST gets a new one."""
        headers = {"authorization": f"Bearer {self.token}"}
        if body:
            headers["content-type"] = "application/json"
        if method == "POST":
            headers["idempotency-key"] = key or unused_key()
        if self.key is not None and method in ("POST", "PUT", "PATCH", "DELETE"):
            headers |= self.signature(method, target, body, headers.get("idempotency-key", ""), timestamp)
        return headers

    def signature(
        self, method: str, target: str, body: bytes, idempotency_key: str = "", timestamp: str | None = None
    ) -> dict[str, str]:
        """Return the three headers of a signature."""
        assert self.key is not None
        timestamp = timestamp or self.timestamp()
        signature = self.key.sign(
            method, target, body, tenant_id=self.tenant_id, timestamp=timestamp, idempotency_key=idempotency_key
        )
        return {"x-timestamp": timestamp, "x-key-id": self.key.id, "x-signature": signature}

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str | None = None,
        timestamp: str | None = None,
        change: Mapping[str, str | None] | None = None,
        also: Pairs = (),
    ) -> Answer:
        """Send a valid request with the headers in `change` replaced after signing (None: removed) and those in
        `also` added."""
        content = as_body(body)
        await self.access.renew_when_old()
        headers: dict[str, str | None] = dict(self.headers(method, target, content, key=key, timestamp=timestamp))
        headers |= change or {}
        sent = [(name, value) for name, value in headers.items() if value is not None]
        return await self.wire.send(method, target, [*sent, *also], content)

    async def get(self, target: str, **options: Any) -> Answer:
        return await self.send("GET", target, **options)

    async def post(self, target: str, body: Any = None, **options: Any) -> Answer:
        return await self.send("POST", target, body, **options)

    async def made(self, target: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """Send a POST, which must be accepted, and return its resource."""
        answer = await self.post(target, body, **options)
        assert answer.status in (200, 201), answer.body
        document: dict[str, Any] = answer.document
        return document

    async def read(self, target: str) -> dict[str, Any]:
        """Send a GET, which must be accepted, and return its document."""
        answer = await self.get(target)
        assert answer.status == 200, answer.body
        document: dict[str, Any] = answer.document
        return document


async def eventually(client: Client, target: str, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the document of a GET when it is as expected. Fails after a generous time."""
    document: dict[str, Any] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        document = await client.read(target)
        if ready(document):
            return document
        await asyncio.sleep(0.01)
    raise AssertionError(f"{target} stayed {document}")


async def in_status(client: Client, target: str, status: str) -> dict[str, Any]:
    """Read a resource until it has this status, and return it."""
    return await eventually(client, target, lambda resource: resource["status"] == status)


@dataclass(slots=True)
class Deployment:
    """A running platform, its address, and its clients."""

    platform: Platform
    wire: Wire
    clock: Clock
    tenants: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def token_of(self, client_id: str, secret: str, scope: str | None = None) -> str:
        """Get an access token with client credentials."""
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        if scope is not None:
            form["scope"] = scope
        answer = await self.wire.send(
            "POST", TOKEN_PATH, [("content-type", "application/x-www-form-urlencoded")], urlencode(form).encode()
        )
        assert answer.status == 200, answer.body
        token: str = answer.document["access_token"]
        return token

    async def operator(self) -> Client:
        """Return a client with a platform token."""
        known = self.platform.credentials.platform
        assert known is not None
        return Client(self.wire, self.clock, await self._access(known["client_id"], known["client_secret"]))

    async def tenant(self, scope: str | None = None) -> Client:
        """Return the demo tenant's client, with these scopes or all."""
        known = self.platform.credentials.demo
        assert known is not None
        access = await self._access(known["client_id"], known["client_secret"], scope)
        return Client(self.wire, self.clock, access, known["tenant_id"], Key(known["key_id"], known["signing_secret"]))

    async def new_tenant(self, **fields: Any) -> Client:
        """Create a tenant for one test and return its client."""
        made = await (await self.operator()).made("/v1/tenants", {"name": "Made for a test", **fields})
        self.tenants[made["id"]] = made
        access = await self._access(made["client"]["client_id"], made["client"]["client_secret"])
        key = Key(made["signing_key"]["key_id"], made["signing_key"]["secret"])
        return Client(self.wire, self.clock, access, made["id"], key)

    async def _access(self, client_id: str, secret: str, scope: str | None = None) -> Access:
        another = partial(self.token_of, client_id, secret, scope)
        return Access(await another(), another if isinstance(self.clock, SystemClock) else None)


@asynccontextmanager
async def running(
    data_dir: Path,
    clock: Clock | None = None,
    *,
    faithful: bool = FAITHFUL,
    writer: Literal["thread", "process"] = "thread",
    **settings: Any,
) -> AsyncIterator[Deployment]:
    """Run a platform on this data directory and a free port, and stop it at the end."""
    clock = clock or SystemClock()
    platform = await Platform.start(
        Settings(data_dir=str(data_dir), **settings), Options(writer=writer, faithful=faithful), clock=clock
    )
    try:
        async with served(platform.gateway, platform.settings) as wire:
            yield Deployment(platform, wire, clock)
    finally:
        await platform.stop()


def still_clock() -> ManualClock:
    """Return a stopped clock at a whole second."""
    return ManualClock(datetime.fromisoformat("2026-11-20T12:00:00+00:00"))


# The first resources of a test


def cpf(number: int) -> str:
    """Return a CPF with its two check digits."""
    digits = [int(digit) for digit in f"{number:09d}"]
    for length in (9, 10):
        total = sum(digit * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=True))
        digits.append(0 if total % 11 < 2 else 11 - total % 11)
    return "".join(map(str, digits))


def user_body(**fields: Any) -> dict[str, Any]:
    """Return the body of a new user."""
    number = next(_numbers)
    return {
        "kind": "customer",
        "name": "Ana Souza",
        "document": {"type": "cpf", "number": cpf(100_000_000 + number)},
        "email": f"ana{number}@example.com",
        **fields,
    }


async def new_account(client: Client, **fields: Any) -> str:
    """Open an account of a new user, by default in BRL and with an overdraft limit of 1,000.00."""
    owner = await client.made("/v1/users", user_body())
    body = {"owner_id": owner["id"], "currency": "BRL", "overdraft_limit": 100_000, **fields}
    account: str = (await client.made("/v1/accounts", body))["id"]
    return account


def brl(value: Any) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A tenant's client and two of its accounts."""

    client: Client
    payer: str
    payee: str

    def payment(self, **fields: Any) -> dict[str, Any]:
        """Return the body of a payment of 1.00 from one account to the other."""
        return {
            "amount": brl(100),
            "method": "internal",
            "payer_account_id": self.payer,
            "payee_account_id": self.payee,
            **fields,
        }

    async def paid(self, *, wait: int = 10, **fields: Any) -> dict[str, Any]:
        """Create a payment, wait for its end, and return it."""
        return await self.client.made("/v1/payments", self.payment(**fields), also=(("prefer", f"wait={wait}"),))


async def new_pair(client: Client) -> Pair:
    """Open two accounts of two users."""
    return Pair(client, await new_account(client), await new_account(client))


def without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the document without these members."""
    return {name: value for name, value in document.items() if name not in names}


def names_of(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids in the answer of a list."""
    return [item["id"] for item in found]
