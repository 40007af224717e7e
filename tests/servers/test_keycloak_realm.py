"""The rules of the realm in knative/platform/keycloak: persons, operators, and what they cannot do."""

from __future__ import annotations

import hmac
import re
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from shared.core.clock import SystemClock
from shared.core.problems import Problem
from shared.identity.keys import JwksClient
from shared.identity.tenancy import PLATFORM_SCOPE
from shared.identity.tokens import Caller, TokenVerifier
from tests.ports.identity_suite import claims_of
from tests.servers.keycloak_realms import PASSWORD, Admin, Browser, LoginRefused, challenge, own_realm

VERIFIER: Final = "v" * 43
PERSON_SCOPES: Final = {
    "users:read",
    "accounts:read",
    "payments:read",
    "payments:write",
    "deposits:read",
    "deposits:write",
    "statements:read",
}


@pytest.fixture(scope="module")
def realm(keycloak_url: str) -> Iterator[Admin]:
    """A realm of its own."""
    with own_realm(keycloak_url) as admin:
        yield admin


@pytest.fixture
def browser(realm: Admin) -> Iterator[Browser]:
    with Browser(realm.url) as browser:
        yield browser


async def caller_of(realm: Admin, token: str) -> Caller:
    """Return the caller of a token, as the platform verifies it."""
    clock = SystemClock()
    return await TokenVerifier(realm.url, "lastro-api", JwksClient(realm.url, clock), clock).verify(token)


async def test_a_person_gets_a_token_by_authorization_code(realm: Admin, browser: Browser) -> None:
    """A person who logs in gets a token of five minutes with the own tenant, the own user and the scopes of a
    person."""
    realm.add_person("ana", tenant_id="acme", user_id="usr_1")
    answer = browser.log_in("ana")
    caller = await caller_of(realm, answer["access_token"])
    assert (caller.tenant_id, caller.user_id) == ("acme", "usr_1")
    assert caller.client_id == "lastro-app"
    assert caller.scopes - {"openid"} == PERSON_SCOPES
    # Keycloak counts whole seconds from the login, which may be over when it answers.
    assert 240 < answer["expires_in"] <= 300


@pytest.mark.parametrize("changes", [{"code_challenge": ""}, {"code_challenge_method": "plain"}], ids=str)
def test_a_code_needs_pkce(browser: Browser, changes: dict[str, str]) -> None:
    """A login without a code challenge, or with one that is not hashed, is refused before the form is shown."""
    answer = browser.open_login("lastro-app", **{"code_challenge": challenge(VERIFIER), **changes})
    assert answer.is_redirect
    assert parse_qs(urlsplit(answer.headers["location"]).query)["error"] == ["invalid_request"]


def test_a_code_is_redeemed_with_its_verifier_only(realm: Admin, browser: Browser) -> None:
    """A stolen code is worth nothing without the verifier of its challenge."""
    realm.add_person("bia", tenant_id="acme", user_id="usr_2")
    page = browser.open_login("lastro-app", code_challenge=challenge(VERIFIER))
    code = browser.code_of(browser.submit(page, username="bia", password=PASSWORD))
    answer = browser.redeem(code, "w" * 43)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_redirect_elsewhere_is_refused(browser: Browser) -> None:
    """A code is sent to no address but those of the client."""
    answer = browser.open_login(
        "lastro-app", code_challenge=challenge(VERIFIER), redirect_uri="https://evil.example/callback"
    )
    assert answer.status_code == 400
    assert "redirect_uri" in answer.text


def test_a_person_cannot_edit_the_own_tenant(realm: Admin) -> None:
    """A person may change the own name and cannot change `tenant_id` and `user_id`: the next token is as before."""
    person_id = realm.add_person("caio", tenant_id="acme", user_id="usr_3")
    console = f"{realm.url}/account/"
    with Browser(realm.url) as browser:
        page = browser.open_login("account-console", code_challenge=challenge(VERIFIER), redirect_uri=console)
        back = browser.submit(page, until=console, username="caio", password=PASSWORD)
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
        redeemed = browser.redeem(code, VERIFIER, client_id="account-console", redirect_uri=console)
        token = redeemed.raise_for_status().json()["access_token"]
    headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
    own = httpx.get(console, headers=headers, timeout=60).raise_for_status().json()
    assert "tenant_id" not in (own.get("attributes") or {})
    change = {
        **own,
        "firstName": "Changed",
        "attributes": {**(own.get("attributes") or {}), "tenant_id": ["other"], "user_id": ["usr_9"]},
    }
    answers = [
        httpx.post(console, json=body, headers=headers, timeout=60).status_code
        for body in (change, {**own, "firstName": "Changed"})
    ]
    assert answers[1] == 204
    known = realm.send("GET", f"/users/{person_id}").json()
    assert known["firstName"] == "Changed"
    assert known["attributes"] == {"tenant_id": ["acme"], "user_id": ["usr_3"]}
    with Browser(realm.url) as browser:
        claims = claims_of(browser.log_in("caio")["access_token"])
    assert (claims["tenant_id"], claims["user_id"]) == ("acme", "usr_3")


@pytest.mark.parametrize(
    "attributes",
    [{"tenant_id": ["acme", "other"]}, {"tenant_id": ["Acme!"]}, {"user_id": ["usr_1", "usr_2"]}, {"role": ["x"]}],
    ids=str,
)
def test_an_administrator_cannot_give_wrong_attributes(realm: Admin, attributes: dict[str, Any]) -> None:
    """A person has at most one tenant and one user, in the form of their ids, and no attribute of another name."""
    person_id = realm.add_person(f"person-{abs(hash(str(attributes)))}")
    person = realm.send("GET", f"/users/{person_id}").json()
    with suppress(httpx.HTTPStatusError):  # an unknown attribute is dropped, others are refused
        realm.send("PUT", f"/users/{person_id}", {**person, "attributes": attributes})
    assert not realm.send("GET", f"/users/{person_id}").json().get("attributes")


async def test_a_person_without_a_user_is_refused(realm: Admin, browser: Browser) -> None:
    """A token of a person who has a tenant and no user is refused: it is not taken for a token of a service, which sees
    the whole tenant."""
    realm.add_person("davi", tenant_id="acme")
    token = browser.log_in("davi")["access_token"]
    with pytest.raises(Problem, match="invalid_token") as refused:
        await caller_of(realm, token)
    assert "names no user" in refused.value.detail


async def test_a_person_is_no_operator(realm: Admin, browser: Browser) -> None:
    """A person who logs in to the operators' client gets no scope of the platform, also when asking for it."""
    realm.add_person("edu", tenant_id="acme", user_id="usr_5")
    token = browser.log_in("edu", client_id="lastro-console", scope=f"openid {PLATFORM_SCOPE}")["access_token"]
    caller = await caller_of(realm, token)
    assert PLATFORM_SCOPE not in caller.scopes
    assert caller.tenant_id is None


def test_an_operator_needs_totp_and_webauthn(realm: Admin, browser: Browser) -> None:
    """An operator's password leads to the registration of TOTP, and that to the registration of WebAuthn, and neither
    to a code; at the next login the password leads to TOTP."""
    realm.add_person("olga", roles=("operator",))
    page = browser.open_login("lastro-console", code_challenge=challenge(VERIFIER))
    page = browser.submit(page, username="olga", password=PASSWORD)
    with pytest.raises(LoginRefused) as refused:
        browser.code_of(page)
    assert "kc-totp-settings-form" in refused.value.page
    secret = field_of(page, "totpSecret")
    page = browser.submit(page, totp=totp(secret), totpSecret=secret, userLabel="phone")
    with pytest.raises(LoginRefused) as refused:
        browser.code_of(page)
    assert 'id="register"' in refused.value.page
    assert "attestationObject" in refused.value.page
    with Browser(realm.url) as another:
        page = another.open_login("lastro-console", code_challenge=challenge(VERIFIER))
        page = another.submit(page, username="olga", password=PASSWORD)
        with pytest.raises(LoginRefused) as refused:
            another.code_of(page)
        assert 'name="otp"' in refused.value.page


def test_passwords_cannot_be_guessed(realm: Admin) -> None:
    """After five wrong passwords the right one is refused, too, for a time."""
    realm.add_person("fabi", tenant_id="acme", user_id="usr_6")
    for _ in range(5):
        with Browser(realm.url) as browser, pytest.raises(LoginRefused):
            browser.log_in("fabi", "wrong")
    with Browser(realm.url) as browser, pytest.raises(LoginRefused, match="no code"):
        browser.log_in("fabi")


def test_no_client_takes_a_password_by_itself(realm: Admin) -> None:
    """No client of the realm exchanges a password for a token: that would go round the second factor."""
    realm.add_person("gil", tenant_id="acme", user_id="usr_7")
    for client in realm.send("GET", "/clients").json():
        assert not client["directAccessGrantsEnabled"] or not client["enabled"], client["clientId"]
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "gil", "password": PASSWORD}
    answer = httpx.post(f"{realm.url}/protocol/openid-connect/token", data=form, timeout=60)
    assert answer.status_code in (400, 401)


def field_of(page: httpx.Response, name: str) -> str:
    """Return the value of a field of a form."""
    found = re.search(rf'<input[^>]*name="{name}"[^>]*value="([^"]*)"', page.text)
    assert found is not None, page.text
    return unescape(found[1])


def totp(secret: str) -> str:
    """Return the code of now (RFC 6238, SHA-1, six digits, 30 seconds). Keycloak's form has the secret as text."""
    digest = hmac.digest(secret.encode(), struct.pack(">Q", int(time.time()) // 30), "sha1")
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"
