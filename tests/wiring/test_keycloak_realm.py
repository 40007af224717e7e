"""The realm in knative/platform/keycloak fits the scopes, the audience and the claims of the code."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from shared.adapters.keycloak.clients import SCOPES_OF_EVERY_CLIENT
from shared.core.settings import Settings
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from tests.servers.keycloak_server import REALM_FILE

REALM: Final[dict[str, Any]] = json.loads(REALM_FILE.read_text(encoding="utf-8"))
SCOPES: Final = {scope["name"]: scope for scope in REALM["clientScopes"]}
CLIENTS: Final = {client["clientId"]: client for client in REALM["clients"]}


def mappers(scope: str) -> dict[str, dict[str, str]]:
    return {mapper["protocolMapper"]: mapper["config"] for mapper in SCOPES[scope]["protocolMappers"]}


def test_every_scope_of_the_api_is_in_the_realm() -> None:
    """The realm has each scope of the API as a client scope that is shown in `scope`, and no other one with a colon."""
    in_realm = {name for name in SCOPES if ":" in name}
    assert in_realm == {*TENANT_SCOPES, PLATFORM_SCOPE}
    assert all(SCOPES[name]["attributes"]["include.in.token.scope"] == "true" for name in in_realm)
    assert set(SCOPES_OF_EVERY_CLIENT) <= SCOPES.keys()


def test_tokens_have_the_audience_of_the_api() -> None:
    """The scope of every client adds the audience that the platform expects by default."""
    (config,) = mappers("lastro-api").values()
    assert config["included.custom.audience"] == Settings().audience


def test_the_usual_client_is_the_one_that_manages_clients() -> None:
    """The default of LASTRO_IDENTITY_CLIENT is the client of the realm that may manage clients and nothing else."""
    (account,) = [user for user in REALM["users"] if user["serviceAccountClientId"] == Settings().identity_client]
    assert account["clientRoles"] == {"realm-management": ["manage-clients", "view-clients"]}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_has_one_way_to_a_token(name: str) -> None:
    """Each client uses client credentials or authorization code with PKCE (S256), and none takes passwords."""
    client = CLIENTS[name]
    assert not client["directAccessGrantsEnabled"]
    assert not client.get("implicitFlowEnabled", False)
    assert client["serviceAccountsEnabled"] is not client["publicClient"]
    if client["standardFlowEnabled"]:
        assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    assert client["fullScopeAllowed"] is False if client["enabled"] and name != "lastro-provisioning" else True


def test_the_rules_of_the_realm() -> None:
    """Tokens are RS256 and valid for five minutes, passwords cannot be guessed, and no secret is in the file."""
    assert (REALM["defaultSignatureAlgorithm"], REALM["accessTokenLifespan"]) == ("RS256", 300)
    assert REALM["bruteForceProtected"]
    assert not REALM["registrationAllowed"]
    secrets = [client["secret"] for client in REALM["clients"] if "secret" in client]
    assert secrets == ["${LASTRO_PROVISIONING_SECRET}", "${LASTRO_PLATFORM_SECRET}"]


def test_only_an_administrator_edits_tenant_and_user() -> None:
    """The attributes from which a person's token gets `tenant_id` and `user_id` are seen and edited by administrators
    only, and other attributes cannot be added."""
    ((component,),) = REALM["components"].values()
    profile = json.loads(component["config"]["kc.user.profile.config"][0])
    assert "unmanagedAttributePolicy" not in profile
    for attribute in profile["attributes"]:
        if attribute["name"] in ("tenant_id", "user_id"):
            assert attribute["permissions"] == {"view": ["admin"], "edit": ["admin"]}
            assert not attribute["multivalued"]
    claims = {mapper["config"]["claim.name"] for mapper in SCOPES["lastro-person"]["protocolMappers"]}
    assert claims == {"tenant_id", "user_id"}


def test_operators_need_every_factor() -> None:
    """The browser flow of the realm requires TOTP and WebAuthn for the role `operator`, beside the password."""
    flows = {flow["alias"]: flow["authenticationExecutions"] for flow in REALM["authenticationFlows"]}
    assert REALM["browserFlow"] in flows
    required = [step["authenticator"] for step in flows["lastro operator"] if step["requirement"] == "REQUIRED"]
    assert required == ["conditional-user-role", "auth-otp-form", "webauthn-authenticator"]
    conditions = {config["alias"]: config["config"] for config in REALM["authenticatorConfig"]}
    assert conditions["is an operator"] == {"condUserRole": "operator", "negate": "false"}
