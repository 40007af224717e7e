"""The first start: it creates the platform's own client, the demo tenant and the file with their secrets."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from embedded.identity.credentials import FILE_NAME, BadCredentials, Credentials, tenant_entry
from embedded.identity.issuer import TOKEN_PATH, Client, Issuer
from shared.adapters.files.keyfile import KEY_FILE, SECRETS_FILE
from shared.context.runtime import Runtime
from shared.core.clock import format_time
from shared.http.messages import HttpRequest, HttpResponse
from shared.identity.tenancy import PLATFORM_SCOPE, client_of
from shared.identity.tokens import client_secret_digest
from shared.ports.documents import PLATFORM, AlreadyExists, Commit, Unavailable
from shared.records.tenants import CLIENTS, ClientDocument
from shared.records.users import USERS

if TYPE_CHECKING:
    from shared.adapters.keycloak.realm import KeycloakRealm

log = logging.getLogger(__name__)
PLATFORM_CLIENT: Final = "lastro-platform"
DEMO_TENANT: Final = "demo"
_SECRET_NAME: Final = "platform-client-secret"
_DEMO_KEY: Final = "first-start/demo-tenant"
_REGISTRATION_SECONDS: Final = 10

Send = Callable[[HttpRequest], Awaitable[HttpResponse]]


class StoredClients:
    """The issuer's clients, read from the documents that onboarding stores."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def client(self, client_id: str) -> Client | None:
        """Return the client, or None, when it is durable."""
        document = await client_of(self._runtime.documents, client_id)
        if document is None:
            return None
        await self._runtime.documents.durable()
        return Client(
            document["id"],
            document["secret_digest"],
            document["client_tenant_id"],
            frozenset(document["scopes"]),
        )

    async def has_person(self, tenant_id: str, user_id: str) -> bool:
        """Return whether the tenant has this user, durably, and the user is not closed."""
        user = await self._runtime.documents.get(USERS, tenant_id, user_id)
        if user is None or user["status"] == "closed":
            return False
        await self._runtime.documents.durable()
        return True


async def prepare_with_realm(runtime: Runtime, realm: KeycloakRealm, send: Send, *, demo: bool) -> Credentials:
    """Write the credentials file with the addresses and, if this process may manage the realm's clients, with the
    platform's client of the realm and, with `demo`, the demo tenant, which is created unless it exists.

    Without that, or while the realm does not answer, the file has what it had. Raises BadCredentials.
    """
    credentials, before = _read(runtime)
    credentials.token_url = realm.token_url
    if not realm.clients.has_access:
        log.warning(
            "LASTRO_IDENTITY_CLIENT_SECRET is not set: new tenants stay pending unless another process registers their "
            "clients, and credentials.json gets no clients"
        )
    else:
        try:
            await _add_clients_of_realm(credentials, realm, send, demo=demo)
        except Unavailable as error:
            log.warning("credentials.json gets no clients of the realm: %s", error)
    _write(credentials, before)
    return credentials


async def _add_clients_of_realm(credentials: Credentials, realm: KeycloakRealm, send: Send, *, demo: bool) -> None:
    secret = await realm.clients.secret_of(PLATFORM_CLIENT)
    if secret is None:
        raise Unavailable(f"the realm has no client {PLATFORM_CLIENT} with a secret")
    credentials.platform = {"client_id": PLATFORM_CLIENT, "client_secret": secret}
    if demo and credentials.demo is None:
        token = await realm.clients.token_of(PLATFORM_CLIENT, secret)
        credentials.demo = await _demo_tenant(token, send, prefer=f"wait={_REGISTRATION_SECONDS}")


async def prepare(runtime: Runtime, issuer: Issuer, send: Send, *, demo: bool) -> Credentials:
    """Create the platform's client, the credentials file and, with `demo`, the demo tenant, unless they exist.

    Any of these steps may have happened in an earlier start, also in one that a crash interrupted. A repeated step
    yields the same secrets: those of the demo tenant come from the idempotent replay of its creation, within
    LASTRO_IDEMPOTENCY_DAYS. Raises BadCredentials, also when the file, the key files and the database do not belong
    together.
    """
    credentials, before = _read(runtime)
    await _check_clients(runtime, credentials)
    credentials.token_url = issuer.issuer_url + TOKEN_PATH
    secret = await _platform_client(runtime)
    credentials.platform = {"client_id": PLATFORM_CLIENT, "client_secret": secret}
    if demo and credentials.demo is None:
        operator = Client(PLATFORM_CLIENT, "", None, frozenset({PLATFORM_SCOPE}))
        credentials.demo = await _demo_tenant(issuer.issue(operator, operator.scopes), send)
    _write(credentials, before)
    return credentials


def _read(runtime: Runtime) -> tuple[Credentials, bytes]:
    """Return the content of the file with the present addresses, and the bytes of the file; b"" when there is none."""
    directory = runtime.settings.data_path
    credentials = Credentials.read(directory) or Credentials(directory / FILE_NAME)
    before = credentials.path.read_bytes() if credentials.path.exists() else b""
    credentials.base_url = runtime.settings.base_url
    credentials.audience = runtime.settings.audience
    return credentials, before


def _write(credentials: Credentials, before: bytes) -> None:
    if credentials.text().encode() != before:
        credentials.write()


async def _check_clients(runtime: Runtime, credentials: Credentials) -> None:
    """Check that the database has the clients that the file has from an earlier start. Raises BadCredentials."""
    demo = [credentials.demo] if credentials.demo else []
    for entry in (*demo, *(credentials.tenants or {}).values()):
        client = await client_of(runtime.documents, entry["client_id"])
        if client is None or client["secret_digest"] != client_secret_digest(entry["client_secret"]):
            raise BadCredentials(
                f"{credentials.path} holds a client of the tenant {entry['tenant_id']} that the database in the "
                f"same directory does not have; was the database deleted? Restore the database that belongs to it, or "
                f"remove {credentials.path} to start again with new secrets"
            )


async def _platform_client(runtime: Runtime) -> str:
    stored = await runtime.secrets.get(_SECRET_NAME)
    secret = stored.decode() if stored is not None else runtime.secret_source.hexadecimal()
    if stored is None:
        await runtime.secrets.put(_SECRET_NAME, secret.encode())
    document: ClientDocument = {
        "id": PLATFORM_CLIENT,
        "tenant_id": PLATFORM,
        "version": 1,
        "secret_digest": client_secret_digest(secret),
        "client_tenant_id": None,
        "scopes": [PLATFORM_SCOPE],
        "created_at": format_time(runtime.clock.now()),
    }
    commit = Commit(PLATFORM)
    commit.inserts.append((CLIENTS, dict(document)))
    try:
        await runtime.documents.commit(commit)
    except AlreadyExists:
        known = await client_of(runtime.documents, PLATFORM_CLIENT)
        if known is None or known["secret_digest"] != document["secret_digest"]:
            directory = runtime.settings.data_path
            raise BadCredentials(
                f"{directory / KEY_FILE} and {directory / SECRETS_FILE} are not those with which the database in "
                "the same directory was created; were they deleted? Restore them from a backup of the data directory"
            ) from None
    await runtime.documents.durable()
    return secret


async def _demo_tenant(token: str, send: Send, prefer: str | None = None) -> dict[str, str] | None:
    """Create the demo tenant by a request with a platform token, as an operator would."""
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "idempotency-key": _DEMO_KEY,
        **({} if prefer is None else {"prefer": prefer}),
    }
    body = orjson.dumps({"id": DEMO_TENANT, "name": "Demo"})
    response = await send(HttpRequest("POST", "/v1/tenants", "", headers, body))
    answer: dict[str, Any] = orjson.loads(response.body)
    if response.status != 201:
        log.warning("the demo tenant cannot be created: %s", answer.get("detail", response.status))
        return None
    if answer["status"] == "pending":
        log.warning("the demo tenant is pending: the realm does not have its client yet")
    return tenant_entry(answer)
