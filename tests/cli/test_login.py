"""`lastro token --login`: a person's login in the browser, by authorization code with PKCE."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest

from cli.errors import CliError
from cli.login import log_in
from tests.cli.started import run
from tests.servers.keycloak_realms import Browser, own_realm
from tests.waiting import PATIENCE_SECONDS


class Realm:
    """A realm whose person logs in at once. The code is the challenge, so the verifier can be checked."""

    def __init__(self) -> None:
        self.refusal = ""
        self.another_issuer = False
        self.endpoint = True
        self.browsers: list[threading.Thread] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer = {"issuer": outer.url}
                document = issuer | ({"authorization_endpoint": f"{outer.url}/auth"} if outer.endpoint else {})
                self._send(200, document)

            def do_POST(self) -> None:
                form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
                digest = sha256(form["code_verifier"].encode()).digest()
                if urlsafe_b64encode(digest).rstrip(b"=").decode() != form["code"]:
                    self._send(400, {"error": "invalid_grant"})
                    return
                self._send(200, {"access_token": f"token-for-{form['client_id']}"})

            def _send(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/lastro"
        self.token_url = f"{self.url}/protocol/openid-connect/token"

    def person(self, address: str) -> None:
        """Log in at this address, as the person's browser does, after an answer that belongs to another login."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        back = asked["redirect_uri"]
        answer = {"state": asked["state"], "code": asked["code_challenge"], "iss": self.url}
        if self.another_issuer:
            answer["iss"] = "http://evil.example"
        if self.refusal:
            answer = {"state": asked["state"], "error": self.refusal}

        def browse() -> None:
            assert httpx.get(f"{back}?{urlencode({**answer, 'state': 'forged'})}").status_code == 404
            assert httpx.get(f"{back}?{urlencode(answer)}").status_code == 200

        self.browsers.append(threading.Thread(target=browse))
        self.browsers[-1].start()


@pytest.fixture
def realm() -> Iterator[Realm]:
    realm = Realm()
    serving = threading.Thread(target=realm.server.serve_forever)
    serving.start()
    yield realm
    for browser in realm.browsers:
        browser.join()
    realm.server.shutdown()
    serving.join()
    realm.server.server_close()


def test_a_login_gives_a_token(realm: Realm) -> None:
    """The code that comes to the own port is exchanged with the verifier; an answer with another state is ignored."""
    assert log_in(realm.token_url, "lastro-app", realm.person, PATIENCE_SECONDS) == "token-for-lastro-app"


def test_a_refused_login_has_its_reason(realm: Realm) -> None:
    """A login that the realm refuses is an error with the realm's reason."""
    realm.refusal = "access_denied"
    with pytest.raises(CliError, match="no login: access_denied"):
        log_in(realm.token_url, "lastro-app", realm.person, PATIENCE_SECONDS)


def test_an_answer_of_another_issuer_is_not_accepted(realm: Realm) -> None:
    """A code that comes from another issuer is not sent to this one."""
    realm.another_issuer = True
    with pytest.raises(CliError, match="comes from another issuer"):
        log_in(realm.token_url, "lastro-app", realm.person, PATIENCE_SECONDS)


def test_a_login_that_does_not_come_ends(realm: Realm) -> None:
    """When nothing comes within the time, the command ends and says so."""
    with pytest.raises(CliError, match="no login came within 0 s"):
        log_in(realm.token_url, "lastro-app", lambda _: None, 0.0)


def test_an_issuer_without_a_login_page_is_named(realm: Realm) -> None:
    """For an issuer without a login page, such as the platform's own, the error names `--user`."""
    realm.endpoint = False
    with pytest.raises(CliError, match=r"has no login page.* Use --user"):
        log_in(realm.token_url, "lastro-app", realm.person, PATIENCE_SECONDS)


def test_a_login_takes_no_other_person(tmp_path: Path) -> None:
    """`--login` with `--user` is a usage error."""
    result = run("token", "--login", "--user", "usr_1", "--data-dir", str(tmp_path))
    assert result.returncode == 2
    assert "leave --tenant, --scope and --user out" in result.stderr


def test_a_person_logs_in_to_keycloak(keycloak_url: str) -> None:
    """A person of a real realm logs in at the address that the command shows, and the command gets the person's
    token."""
    with own_realm(keycloak_url) as admin, Browser(admin.url) as browser:
        admin.add_person("ana", tenant_id="acme", user_id="usr_1")

        visits: list[threading.Thread] = []

        def person(address: str) -> None:
            visits.append(threading.Thread(target=browser.visit, args=(address, "ana")))
            visits[-1].start()

        token = log_in(f"{admin.url}/protocol/openid-connect/token", "lastro-app", person, PATIENCE_SECONDS)
        visits[0].join()
    assert token.count(".") == 2
