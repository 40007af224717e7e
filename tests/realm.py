"""A realm of the local issuer behind an HTTP server of its own, as a realm of Keycloak is."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from embedded.identity.issuer import JWKS_PATH, REALM_PATH, TOKEN_PATH, Answer, Client, Issuer, KeyRing
from shared.core.clock import Clock
from shared.core.problems import Problem
from shared.http.messages import HttpRequest, HttpResponse
from shared.identity.keys import DISCOVERY_PATH
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import client_secret_digest
from tests.contract.wire import served

SECRET = "secret-of-the-tests"
PROVISIONING_CLIENT = "lastro-provisioning"
PLATFORM_CLIENT = "lastro-platform"
ADMIN_PATH = f"/admin{REALM_PATH}"


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
    admin: AdminApi = field(init=False)

    def __post_init__(self) -> None:
        self.admin = AdminApi(self)

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
        if request.path.startswith(ADMIN_PATH):
            return self.admin.answer(request)
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


@dataclass(slots=True)
class AdminApi:
    """The part of Keycloak's admin API that registers clients, with faults.

    Its requests need a token of a client in `administrators`.
    """

    realm: Realm
    administrators: set[str] = field(default_factory=lambda: {PROVISIONING_CLIENT})
    scopes: set[str] = field(default_factory=lambda: {"basic", "lastro-api", PLATFORM_SCOPE, *TENANT_SCOPES})
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The representations of the registered clients, by client id."""
    created: list[str] = field(default_factory=list)
    """The ids of the clients that were sent for creation."""
    lost_answers: int = 0
    """How many of the next creations happen and are answered with 504."""
    refused_tokens: int = 0
    """How many of the next requests are answered with 401."""

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        if self.refused_tokens > 0:
            self.refused_tokens -= 1
            return HttpResponse(401, {}, b"")
        token = request.headers["authorization"].removeprefix("Bearer ")
        claims = json.loads(urlsafe_b64decode(token.split(".")[1] + "=="))
        if claims["azp"] not in self.administrators:
            return HttpResponse(403, {}, b"")
        path = request.path.removeprefix(ADMIN_PATH)
        if path == "/client-scopes":
            return _as_json(200, [{"name": name} for name in sorted(self.scopes)])
        assert path == "/clients", path
        if request.method == "GET":
            (wanted,) = parse_qs(request.query)["clientId"]
            return _as_json(200, [self.stored[wanted]] if wanted in self.stored else [])
        return self._create(json.loads(request.body))

    def _create(self, client: dict[str, Any]) -> HttpResponse:
        client_id = client["clientId"]
        self.created.append(client_id)
        if client_id in self.stored:
            return _as_json(409, {"errorMessage": f"Client {client_id} already exists"})
        if not client["secret"]:
            return _as_json(400, {"errorMessage": "no secret"})
        lists = ("defaultClientScopes", "optionalClientScopes")
        known = {each: [name for name in client[each] if name in self.scopes] for each in lists}
        self.stored[client_id] = {**client, "id": f"uuid-of-{client_id}", **known}
        claims = {mapper["name"]: mapper["config"]["claim.value"] for mapper in client["protocolMappers"]}
        tenant_id, scopes = claims["tenant_id"], frozenset(known["optionalClientScopes"])
        self.realm.clients[client_id] = Client(client_id, client_secret_digest(client["secret"]), tenant_id, scopes)
        if self.lost_answers > 0:
            self.lost_answers -= 1
            return HttpResponse(504, {}, b"")
        return HttpResponse(201, {}, b"")


def _as_json(status: int, document: object) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps(document).encode())


@asynccontextmanager
async def serving_realm(clock: Clock) -> AsyncIterator[Realm]:
    """Serve a new realm on a free port. Its tokens are valid from the time of this clock."""
    keys = await KeyRing.load(_stored())
    directory: dict[str, Client] = {}
    realm = Realm(Issuer("", keys, _Directory(directory), clock), keys, directory)
    async with served(realm) as wire:
        realm.issuer.issuer_url = f"http://{wire.host}:{wire.port}{REALM_PATH}"
        realm.add_client(PROVISIONING_CLIENT, None, frozenset())
        realm.add_client(PLATFORM_CLIENT, None, frozenset({PLATFORM_SCOPE}))
        realm.admin.stored[PLATFORM_CLIENT] = {"clientId": PLATFORM_CLIENT, "secret": SECRET}
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
