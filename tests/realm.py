"""A realm of the local issuer behind an HTTP server of its own, as a realm of Keycloak is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

from embedded.identity.issuer import JWKS_PATH, REALM_PATH, TOKEN_PATH, Answer, Client, Issuer, KeyRing
from shared.core.clock import Clock
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.identity.keys import DISCOVERY_PATH
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import client_secret_digest
from tests.contract.wire import served

SECRET = "secret-of-the-tests"


class _Store:
    """Secrets in memory."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}

    async def get(self, name: str) -> bytes | None:
        return self.secrets.get(name)

    async def put(self, name: str, value: bytes) -> None:
        self.secrets[name] = value


@cache
def _stored() -> _Store:
    """Return the keys of all realms of this process, because making keys is slow."""
    return _Store()


@dataclass(slots=True)
class Realm:
    """A realm. Its server answers 503 while it is `away`."""

    issuer: Issuer
    keys: KeyRing
    clients: dict[str, Client] = field(default_factory=dict)
    away: bool = False
    reads: int = 0
    """How often the key set was read."""

    @property
    def url(self) -> str:
        return self.issuer.issuer_url

    def token(self, tenant_id: str | None) -> str:
        """Return a token of a service of this tenant, or of the platform's operator."""
        scopes = frozenset((PLATFORM_SCOPE,) if tenant_id is None else TENANT_SCOPES)
        return self.issuer.issue(Client(f"client-of-{tenant_id}", "", tenant_id, scopes), scopes)

    def add_client(self, client_id: str, tenant_id: str | None, scopes: frozenset[str]) -> None:
        """Register a client whose secret is SECRET."""
        self.clients[client_id] = Client(client_id, client_secret_digest(SECRET), tenant_id, scopes)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request to the realm's own paths."""
        if self.away:
            return HttpResponse(503, {}, b"")
        path = request.path.removeprefix(REALM_PATH)
        if path == TOKEN_PATH:
            return _response(await self.issuer.answer_token(request.headers, request.body))
        if path == DISCOVERY_PATH:
            return _response(self.issuer.answer_discovery())
        if path == JWKS_PATH:
            self.reads += 1
            return _response(self.issuer.answer_jwks())
        return HttpResponse(404, {}, b"")

    def refuse(self, request: HttpRequest, problem: Problem) -> HttpResponse:
        """Answer a request that could not be read."""
        return HttpResponse(problem.status, {}, b"")


@asynccontextmanager
async def serving_realm(clock: Clock) -> AsyncIterator[Realm]:
    """Serve a new realm on a free port. Its tokens are valid from the time of this clock."""
    keys = await KeyRing.load(_stored())
    directory: dict[str, Client] = {}
    realm = Realm(Issuer("", keys, _Directory(directory), clock), keys, directory)
    async with served(realm) as wire:
        realm.issuer.issuer_url = f"http://{wire.host}:{wire.port}{REALM_PATH}"
        yield realm


class _Directory:
    """The realm's clients, for its issuer."""

    def __init__(self, clients: dict[str, Client]) -> None:
        self._clients = clients

    async def client(self, client_id: str) -> Client | None:
        return self._clients.get(client_id)

    async def has_person(self, tenant_id: str, user_id: str) -> bool:
        return any(client.tenant_id == tenant_id for client in self._clients.values()) and user_id.startswith("usr_")


def _response(answer: Answer) -> HttpResponse:
    status, headers, body = answer
    return HttpResponse(status, {name.lower(): value for name, value in headers.items()}, body)
