"""The realm of knative/platform/keycloak, as a real Keycloak imports it at its start."""

from __future__ import annotations

import httpx

from shared.core.clock import SystemClock
from shared.identity.keys import JwksClient
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.identity.tokens import TokenVerifier
from tests.servers.keycloak_realms import client_token
from tests.servers.keycloak_server import AUDIENCE, PLATFORM_CLIENT


async def test_the_server_imports_the_realm_with_the_secrets_of_its_environment(keycloak_url: str) -> None:
    """The realm is imported at the start, its secrets come from environment variables, and a token of the platform's
    client verifies by discovery."""
    clock = SystemClock()
    token = client_token(keycloak_url, PLATFORM_CLIENT).raise_for_status().json()["access_token"]
    caller = await TokenVerifier(keycloak_url, AUDIENCE, JwksClient(keycloak_url, clock), clock).verify(token)
    assert (caller.client_id, caller.tenant_id) == (PLATFORM_CLIENT, None)
    assert caller.scopes == {PLATFORM_SCOPE}


def test_discovery_names_the_realm(keycloak_url: str) -> None:
    """The issuer of the realm is its URL."""
    found = httpx.get(f"{keycloak_url}/.well-known/openid-configuration", timeout=60).raise_for_status().json()
    assert found["issuer"] == keycloak_url
