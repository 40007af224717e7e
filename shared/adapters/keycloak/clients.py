"""The clients of a realm, through Keycloak's admin API.

The platform chooses the id and the secret of a client, so a registration whose outcome is unknown can be looked up: it
begins with a search for the client, and ends with a comparison of what the realm has.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from shared.core.clock import Clock
from shared.identity.tokens import DEFAULT_SCOPE
from shared.ports.documents import Unavailable
from shared.ports.identity import ClientRefused, NewClient

if TYPE_CHECKING:
    import httpx

SCOPES_OF_EVERY_CLIENT: Final = ("basic", "lastro-api")
"""The client scopes for `sub` and for the audience."""
TENANT_ATTRIBUTE: Final = "lastro.tenant"
_TIMEOUT_SECONDS: Final = 10.0
_TOKEN_MARGIN_SECONDS: Final = 30.0
_MAX_REASON: Final = 300
_REALM_FILE: Final = "knative/platform/keycloak/lastro-realm.json"


class AdminAccess(NamedTuple):
    """The client that registers other clients: a service account with the role `manage-clients` of the realm."""

    client_id: str
    secret: str
    """Empty when this process may not register clients."""
    api: str
    """The URL of the realm in the admin API: https://id.example/admin/realms/lastro."""


def admin_api(issuer: str) -> str:
    """Return the URL of a realm in the admin API of the server that issues its tokens."""
    base, separator, realm = issuer.rstrip("/").rpartition("/realms/")
    return f"{base}/admin/realms/{realm}" if separator else issuer.rstrip("/")


class RealmClients:
    """Registers clients in a realm. The HTTP client is made with the first call."""

    def __init__(self, access: AdminAccess, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._http: httpx.AsyncClient | None = None
        self._token = ""
        self._token_until = 0.0
        self._login = asyncio.Lock()
        self.token_url = ""
        """The realm's token endpoint; set before the first call."""

    @property
    def has_access(self) -> bool:
        """Whether this process has the secret with which clients are registered."""
        return bool(self._access.secret)

    async def register(self, client: NewClient) -> None:
        """Register a client. See shared.ports.identity.Clients."""
        if await self._find(client.client_id) is None:
            await self._require_scopes(client)
            answer = await self._send("POST", "/clients", _representation(client))
            # 409: another attempt has registered it meanwhile.
            if answer.status_code not in (201, 409):
                raise ClientRefused(f"the realm refuses the client {client.client_id}: {_reason(answer)}")
        found = await self._find(client.client_id)
        if found is None:
            raise Unavailable(f"the realm does not show the client {client.client_id} that it has registered")
        differences = _differences(found, client)
        if differences:
            raise ClientRefused(
                f"the realm has another client of the id {client.client_id}; these differ: {', '.join(differences)}"
            )

    async def secret_of(self, client_id: str) -> str | None:
        """Return the secret of a client of the realm, or None when it has none. Raises Unavailable."""
        found = await self._find(client_id)
        secret = None if found is None else found.get("secret")
        return secret if isinstance(secret, str) and secret else None

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _find(self, client_id: str) -> Mapping[str, Any] | None:
        answer = await self._send("GET", "/clients", params={"clientId": client_id})
        found = _listed(answer, "its clients")
        return next((client for client in found if client.get("clientId") == client_id), None)

    async def _require_scopes(self, client: NewClient) -> None:
        """Raise Unavailable unless the realm has the client's scopes: it would leave unknown ones out."""
        answer = await self._send("GET", "/client-scopes")
        known = {scope.get("name") for scope in _listed(answer, "its client scopes")}
        missing = sorted({*client.scopes, *SCOPES_OF_EVERY_CLIENT} - known)
        if missing:
            raise Unavailable(f"the realm has no client scope {', '.join(missing)}: add what {_REALM_FILE} has")

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request with the provisioning client's token. Raises Unavailable unless the realm has answered it."""
        answer = await self._sent(method, path, body, params)
        if answer.status_code == 401:  # the token was revoked, or the realm has other keys
            self._token = ""
            answer = await self._sent(method, path, body, params)
        if answer.status_code == 401:
            raise Unavailable(f"the realm does not accept its own token of {self._access.client_id}")
        if answer.status_code == 403:
            raise Unavailable(f"{self._access.client_id} needs the role manage-clients of realm-management")
        return answer

    async def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, params: Mapping[str, str] | None
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {await self._access_token()}"}
        return await self._request(method, self._access.api + path, headers=headers, json=body, params=params)

    async def token_of(self, client_id: str, secret: str) -> str:
        """Return a new access token of a client of the realm. Raises Unavailable."""
        return (await self._granted(client_id, secret))[0]

    async def _access_token(self) -> str:
        if not self._access.secret:
            raise Unavailable(
                "LASTRO_IDENTITY_CLIENT_SECRET is not set: without it this process cannot register clients in the realm"
            )
        async with self._login:
            if not self._token or self._clock.monotonic() >= self._token_until:
                self._token, lifetime = await self._granted(self._access.client_id, self._access.secret)
                self._token_until = self._clock.monotonic() + lifetime - _TOKEN_MARGIN_SECONDS
            return self._token

    async def _granted(self, client_id: str, secret: str) -> tuple[str, float]:
        """Return a token by client credentials, and its lifetime in seconds."""
        form = {"grant_type": "client_credentials"}
        answer = await self._request("POST", self.token_url, data=form, auth=(client_id, secret))
        granted = _json(answer)
        if answer.status_code != 200 or not isinstance(granted, dict) or "access_token" not in granted:
            raise Unavailable(f"the realm refuses the login of {client_id}: {_reason(answer)}")
        return str(granted["access_token"]), float(granted.get("expires_in", 0))

    async def _request(self, method: str, url: str, **how: Any) -> httpx.Response:
        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
        try:
            answer = await self._http.request(method, url, **how)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the realm did not answer {method} {url}: {type(error).__name__}") from None
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise Unavailable(f"the realm answered {answer.status_code} to {method} {url}")
        return answer


def _representation(client: NewClient) -> dict[str, Any]:
    """Return the client as the admin API takes it: client credentials only, and a hard-coded tenant.

    Keycloak always grants a default scope, and an optional one only to a request that names it. The client's scopes are
    optional, so that `scope=` narrows a token, and a claim has them all for a request that names none.
    """
    return {
        "clientId": client.client_id,
        "name": f"Tenant {client.tenant_id}",
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "clientAuthenticatorType": "client-secret",
        "secret": client.secret,
        "serviceAccountsEnabled": True,
        "standardFlowEnabled": False,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "fullScopeAllowed": False,
        "redirectUris": [],
        "webOrigins": [],
        "attributes": {TENANT_ATTRIBUTE: client.tenant_id},
        "defaultClientScopes": [*SCOPES_OF_EVERY_CLIENT],
        "optionalClientScopes": [*client.scopes],
        "protocolMappers": [_claim("tenant_id", client.tenant_id), _claim(DEFAULT_SCOPE, " ".join(client.scopes))],
    }


def _claim(name: str, value: str) -> dict[str, Any]:
    """Return the mapper that puts a fixed claim into every access token of a client."""
    return {
        "name": name,
        "protocol": "openid-connect",
        "protocolMapper": "oidc-hardcoded-claim-mapper",
        "config": {
            "claim.name": name,
            "claim.value": value,
            "jsonType.label": "String",
            "access.token.claim": "true",
            "introspection.token.claim": "true",
            "id.token.claim": "false",
            "userinfo.token.claim": "false",
        },
    }


def _differences(found: Mapping[str, Any], client: NewClient) -> list[str]:
    """Return the names of the fields in which the realm's client is not the wanted one."""
    wanted = _representation(client)
    fields = [
        name
        for name, value in wanted.items()
        if isinstance(value, bool | str) and name not in ("name", "secret") and found.get(name) != value
    ]
    if not hmac.compare_digest(str(found.get("secret", "")).encode(), client.secret.encode()):
        fields.append("secret")
    if (found.get("attributes") or {}).get(TENANT_ATTRIBUTE) != client.tenant_id:
        fields.append(TENANT_ATTRIBUTE)
    if sorted(_claims(found)) != sorted(_claims(wanted)):
        fields.append("protocolMappers")
    scopes = ("defaultClientScopes", "optionalClientScopes")
    return fields + [name for name in scopes if set(found.get(name) or ()) != set(wanted[name])]


def _claims(client: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what the mappers of a client put into its tokens: kind, claim and value."""
    claims = []
    for mapper in client.get("protocolMappers") or ():
        config = mapper.get("config") or {}
        put = (mapper.get("protocolMapper"), config.get("claim.name"), config.get("claim.value"))
        claims.append((str(put[0]), str(put[1]), str(put[2])))
    return claims


def _listed(answer: httpx.Response, what: str) -> list[Mapping[str, Any]]:
    found = _json(answer)
    if answer.status_code != 200 or not isinstance(found, list):
        raise Unavailable(f"the realm does not list {what}: {_reason(answer)}")
    return [entry for entry in found if isinstance(entry, dict)]


def _json(answer: httpx.Response) -> Any:
    try:
        return orjson.loads(answer.content)
    except ValueError:
        return None


def _reason(answer: httpx.Response) -> str:
    """Return the error that the realm gives, without the request."""
    found = _json(answer)
    said = ""
    if isinstance(found, dict):
        said = str(found.get("errorMessage") or found.get("error_description") or found.get("error") or "")
    return f"{answer.status_code} {said}".strip()[:_MAX_REASON]
