"""Access tokens of a real Keycloak."""

from __future__ import annotations

import httpx
import pytest

from shared.core.clock import SystemClock
from shared.core.problems import Problem
from shared.identity.keys import JwksClient
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.identity.tokens import TokenVerifier
from tests.servers.keycloak_server import AUDIENCE, PLATFORM_CLIENT, SECRET, TENANT, TENANT_CLIENT


async def token_of(realm: str, client: str) -> str:
    """Ask the realm for a token with the client's credentials."""
    async with httpx.AsyncClient(timeout=120) as http:
        answer = await http.post(
            f"{realm}/protocol/openid-connect/token",
            data={"grant_type": "client_credentials", "client_id": client, "client_secret": SECRET},
        )
    return str(answer.raise_for_status().json()["access_token"])


def verifier_of(realm: str, audience: str = AUDIENCE) -> TokenVerifier:
    clock = SystemClock()
    return TokenVerifier(realm, audience, JwksClient(realm, clock), clock)


async def test_a_token_of_a_tenants_client(keycloak_url: str) -> None:
    """A token of Keycloak is verified by discovery and names its client, its tenant and its scopes."""
    caller = await verifier_of(keycloak_url).verify(await token_of(keycloak_url, TENANT_CLIENT))
    assert (caller.client_id, caller.tenant_id, caller.user_id) == (TENANT_CLIENT, TENANT, None)
    assert caller.scopes == frozenset(TENANT_SCOPES)


async def test_a_token_of_the_platforms_client(keycloak_url: str) -> None:
    """A client without a tenant is the platform's own."""
    caller = await verifier_of(keycloak_url).verify(await token_of(keycloak_url, PLATFORM_CLIENT))
    assert caller.tenant_id is None
    assert caller.scopes == {PLATFORM_SCOPE}


async def test_a_token_for_another_audience_is_refused(keycloak_url: str) -> None:
    """A token that Keycloak made for this platform is not accepted by another one."""
    token = await token_of(keycloak_url, TENANT_CLIENT)
    with pytest.raises(Problem, match="another audience"):
        await verifier_of(keycloak_url, "another-api").verify(token)
