"""Realms of their own on a Keycloak of the tests, made from knative/platform/keycloak, and persons who log in there."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from html import unescape
from secrets import token_hex, token_urlsafe
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.servers.keycloak_server import REALM, REALM_FILE, SECRET

PASSWORD: Final = "correct-horse-battery"
CALLBACK: Final = "http://127.0.0.1/callback"
_LOOPBACK: Final = re.compile(r"http://127\.0\.0\.1(:\d+)?/callback\?")
_SECONDS: Final = 120
_SECRET_VARIABLE: Final = re.compile(r"\$\{LASTRO_[A-Z]+_SECRET\}")
_FORM: Final = re.compile(r'<form[^>]*\baction="([^"]+)"')


class LoginRefused(Exception):
    """The login form was shown again, or shows something that this client does not fill in. `page` is its HTML."""

    def __init__(self, page: str) -> None:
        super().__init__("no code came back")
        self.page = page


class Admin:
    """The administrator of a realm, by the administrator of the server."""

    def __init__(self, realm_url: str) -> None:
        self.url = realm_url
        base, _, name = realm_url.rpartition("/realms/")
        self._base = base
        self._api = f"{base}/admin/realms/{name}"

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request to the realm's part of the admin API, and return the answer to it. Raises when it fails."""
        return self._send(method, self._api + path, body).raise_for_status()

    def _send(self, method: str, url: str, body: Any = None) -> httpx.Response:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": SECRET}
        login = httpx.post(f"{self._base}/realms/master/protocol/openid-connect/token", data=form, timeout=_SECONDS)
        token = login.raise_for_status().json()["access_token"]
        return httpx.request(method, url, json=body, headers={"authorization": f"Bearer {token}"}, timeout=_SECONDS)

    def create_realm(self, name: str) -> None:
        """Create a realm as the file of the repository has it, with the secret of the tests."""
        text = _SECRET_VARIABLE.sub(SECRET, REALM_FILE.read_text(encoding="utf-8"))
        text = text.replace(f"/realms/{REALM}/", f"/realms/{name}/")
        self._send("POST", f"{self._base}/admin/realms", {**json.loads(text), "realm": name}).raise_for_status()

    def add_person(self, username: str, *, roles: tuple[str, ...] = (), **attributes: str) -> str:
        """Add a person with PASSWORD, and return the id that Keycloak gives."""
        person = {
            "username": username,
            "enabled": True,
            "email": f"{username}@example.org",
            "emailVerified": True,
            "firstName": "Ana",
            "lastName": "Souza",
            "attributes": {name: [value] for name, value in attributes.items()},
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        }
        place = self.send("POST", "/users", person).headers["location"]
        person_id = place.rpartition("/")[2]
        if roles:
            found = [self.send("GET", f"/roles/{role}").json() for role in roles]
            self.send("POST", f"/users/{person_id}/role-mappings/realm", found)
        return person_id

    def add_signing_key(self, priority: int) -> None:
        """Add an RSA key. The realm signs with the key of the highest priority."""
        realm_id = self.send("GET", "").json()["id"]
        key = {
            "name": f"rsa-{token_hex(4)}",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm_id,
            "config": {
                name: [value]
                for name, value in {
                    "priority": str(priority),
                    "enabled": "true",
                    "active": "true",
                    "keySize": "2048",
                    "algorithm": "RS256",
                }.items()
            },
        }
        self.send("POST", "/components", key)


@contextmanager
def own_realm(keycloak_url: str) -> Iterator[Admin]:
    """Make a realm for one test or module, and remove it afterwards."""
    server = Admin(keycloak_url)
    name = f"{REALM}-{token_hex(4)}"
    server.create_realm(name)
    admin = Admin(f"{keycloak_url.rpartition('/')[0]}/{name}")
    try:
        yield admin
    finally:
        admin.send("DELETE", "")


def client_token(realm_url: str, client_id: str, secret: str = SECRET, **form: str) -> httpx.Response:
    """Ask for a token by client credentials."""
    fields = {"grant_type": "client_credentials", **form}
    return httpx.post(
        f"{realm_url}/protocol/openid-connect/token", data=fields, auth=(client_id, secret), timeout=_SECONDS
    )


class Browser:
    """A browser that keeps cookies and fills in the login form. As a context manager it closes its connections."""

    def __init__(self, realm_url: str) -> None:
        self._realm = realm_url
        self._http = httpx.Client(timeout=_SECONDS, event_hooks={"request": [self._send_cookies]})

    def _send_cookies(self, request: httpx.Request) -> None:
        """Send all cookies. Keycloak's are `Secure`, and browsers send such cookies to 127.0.0.1 without TLS, too."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._http.cookies.jar)
        if cookies:
            request.headers["cookie"] = cookies

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def log_in(
        self, username: str, password: str = PASSWORD, *, client_id: str = "lastro-app", **query: str
    ) -> Mapping[str, Any]:
        """Log in by authorization code with PKCE (RFC 7636), and return the answer of the token endpoint.

        Raises LoginRefused when the form does not lead to a code.
        """
        verifier = token_urlsafe(48)
        page = self.open_login(client_id, code_challenge=challenge(verifier), **query)
        answer = self.submit(page, username=username, password=password)
        tokens: dict[str, Any] = (
            self.redeem(self.code_of(answer), verifier, client_id=client_id).raise_for_status().json()
        )
        return tokens

    def visit(self, address: str, username: str, password: str = PASSWORD) -> None:
        """Log in at an address that a program shows, and follow the redirect back to the program."""
        answer = self.submit(self._http.get(address), username=username, password=password)
        assert answer.is_redirect, answer.text
        httpx.get(answer.headers["location"], timeout=_SECONDS)

    def open_login(self, client_id: str, **query: str) -> httpx.Response:
        """Ask for a code, and return the login form or the redirect that answers."""
        asked = {
            "client_id": client_id,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "code_challenge_method": "S256",
            **query,
        }
        return self._http.get(f"{self._realm}/protocol/openid-connect/auth", params=asked)

    def submit(self, page: httpx.Response, *, until: str = CALLBACK, **fields: str) -> httpx.Response:
        """Fill in the form of a page, send it, and follow the redirects within Keycloak, up to one to `until`."""
        form = _FORM.search(page.text)
        assert form is not None, page.text
        answer = self._http.post(unescape(form[1]), data=fields)
        while answer.is_redirect and not _leads(answer, until):
            answer = self._http.get(answer.headers["location"])
        return answer

    def code_of(self, answer: httpx.Response) -> str:
        """Return the code with which Keycloak redirects back. Raises LoginRefused."""
        if not answer.is_redirect:
            raise LoginRefused(answer.text)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def redeem(
        self, code: str, verifier: str, *, client_id: str = "lastro-app", redirect_uri: str = CALLBACK
    ) -> httpx.Response:
        """Exchange a code for tokens."""
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return self._http.post(f"{self._realm}/protocol/openid-connect/token", data=form)


def _leads(answer: httpx.Response, until: str) -> bool:
    """Return whether a redirect leads out of Keycloak: to `until`, or to a program's port."""
    location = answer.headers["location"]
    return location.startswith(until) or _LOOPBACK.match(location) is not None


def challenge(verifier: str) -> str:
    """Return the S256 code challenge of a verifier (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
