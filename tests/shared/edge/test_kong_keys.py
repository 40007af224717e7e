"""The keys of the realm at Kong, over real HTTP, with a small realm and a small admin API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from shared.edge.kong_keys import (
    CannotLoad,
    Loader,
    Places,
    certificate_in,
    configuration_of,
    places,
    status_server,
    with_keys,
)
from tests.authority import authority

ROOT = Path(__file__).resolve().parents[3]
KONG = ROOT / "knative" / "platform" / "kong" / "kong.yaml"
REALM = KONG.with_name("realm.yaml")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class Site:
    """A realm and Kong's admin API behind one address."""

    def __init__(self) -> None:
        self.url = self.issuer = ""
        self.keys: list[dict[str, Any]] = []
        self.loaded: list[dict[str, Any]] = []
        self.is_away = False

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if self.is_away:
            return 503, {"error": "away"}
        if path == "/realms/lastro/.well-known/openid-configuration":
            return 200, {"issuer": self.issuer or f"{self.url}/realms/lastro", "jwks_uri": f"{self.url}/certs"}
        if path == "/certs":
            return 200, {"keys": self.keys}
        if (method, path) == ("POST", "/config?check_hash=1"):
            self.loaded.append(yaml.safe_load(json.loads(body)["config"]))
            return 201, {}
        return 404, {}


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, document = site.answer(self.command, self.path, body)
            answer = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def jwk(kid: str, key: Any = RSA_KEY, algorithm: str = "RS256", **more: str) -> dict[str, Any]:
    of = RSAAlgorithm if algorithm == "RS256" else ECAlgorithm
    return {**of.to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": algorithm, "use": "sig", **more}


def loader_of(site: Site, certificate: Path | None = None) -> Loader:
    return Loader(Places(f"{site.url}/realms/lastro", site.url, (KONG, REALM), certificate))


def put_certificate(folder: Path, *hosts: str) -> str:
    """Write a new certificate for these names as a Secret has it, and return its chain."""
    folder.mkdir(exist_ok=True)
    key, *chain = authority(folder, hosts=hosts).server.read_text().split("-----BEGIN CERTIFICATE-----")
    (folder / "tls.key").write_text(key)
    (folder / "tls.crt").write_text("".join(f"-----BEGIN CERTIFICATE-----{each}" for each in chain))
    return (folder / "tls.crt").read_text()


def credentials(document: dict[str, Any]) -> list[dict[str, str]]:
    (owner,) = (one for one in document["consumers"] if one["username"] == "realm")
    found: list[dict[str, str]] = owner["jwt_secrets"]
    return found


def test_kong_gets_the_keys_of_the_realm() -> None:
    """Each signing key becomes a credential that verifies the realm's tokens; routes and limits stay as they are."""
    with serving() as site:
        site.keys = [jwk("one"), jwk("two", EC_KEY, "ES256"), jwk("for-encryption", use="enc", alg="RSA-OAEP")]
        assert loader_of(site).load()
        (document,) = site.loaded
    first, second = credentials(document)
    token = jwt.encode({"exp": 4_000_000_000}, RSA_KEY, "RS256", headers={"kid": "one"})
    assert (first["key"], first["algorithm"]) == ("one", "RS256")
    assert jwt.decode(token, first["rsa_public_key"], ["RS256"]) == {"exp": 4_000_000_000}
    assert (second["key"], second["algorithm"]) == ("two", "ES256")
    own = yaml.safe_load(KONG.read_text())
    own["services"] += yaml.safe_load(REALM.read_text())["services"]
    assert {name: document[name] for name in own if name != "consumers"} == {
        name: own[name] for name in own if name != "consumers"
    }


def test_a_rotation_reaches_kong() -> None:
    """A new key is added and one that the realm no longer publishes is removed, with the next load."""
    with serving() as site:
        loader = loader_of(site)
        for kids in (["old"], ["old", "new"], ["new"]):
            site.keys = [jwk(kid) for kid in kids]
            assert loader.load()
            assert sorted(one["key"] for one in credentials(site.loaded[-1])) == sorted(kids)


def test_a_renewed_certificate_reaches_kong(tmp_path: Path) -> None:
    """The certificate of the folder is served for its names, and a renewed one with the next load; without files there
    is none, and Kong has its own."""
    with serving() as site:
        site.keys = [jwk("one")]
        loader = loader_of(site, tmp_path / "tls")
        assert loader.load()
        chains = []
        for _ in range(2):
            chains.append(put_certificate(tmp_path / "tls", "api.lastro.example", "*.lastro.example"))
            assert loader.load()
    own, first, second = site.loaded
    assert "certificates" not in own
    for document, chain in zip((first, second), chains, strict=True):
        (found,) = document["certificates"]
        assert found["cert"] == chain
        assert [each["name"] for each in found["snis"]] == ["*.lastro.example", "api.lastro.example"]
    assert first["certificates"] != second["certificates"]


def test_a_certificate_that_cannot_be_used_does_not_stop_the_keys(tmp_path: Path) -> None:
    """A broken certificate leaves the former one at Kong and the keys go on; a pod that starts with it is not ready."""
    folder = tmp_path / "tls"
    with serving() as site:
        site.keys = [jwk("old")]
        put_certificate(folder, "api.lastro.example")
        loader = loader_of(site, folder)
        assert loader.load()
        (folder / "tls.key").write_text("no key")
        site.keys = [jwk("new")]
        assert loader.load()
        assert site.loaded[1]["certificates"] == site.loaded[0]["certificates"]
        assert [each["key"] for each in credentials(site.loaded[1])] == ["new"]
        fresh = loader_of(site, folder)
        assert not fresh.load()
        assert "cannot be used" in (fresh.trouble or "")


def test_what_is_wrong_with_a_certificate_is_said(tmp_path: Path) -> None:
    """A key of another certificate, a certificate without a DNS name and a missing key are named."""
    put_certificate(tmp_path / "a", "api.lastro.example")
    put_certificate(tmp_path / "b", "api.lastro.example")
    (tmp_path / "a" / "tls.key").write_text((tmp_path / "b" / "tls.key").read_text())
    with pytest.raises(CannotLoad, match=r"has another key than tls\.key"):
        certificate_in(tmp_path / "a")
    put_certificate(tmp_path / "c", "127.0.0.1")
    with pytest.raises(CannotLoad, match="has no DNS name"):
        certificate_in(tmp_path / "c")
    (tmp_path / "b" / "tls.key").unlink()
    with pytest.raises(CannotLoad, match=r"cannot be used: .*No such file"):
        certificate_in(tmp_path / "b")
    assert certificate_in(tmp_path) is None


def test_an_outage_of_the_realm_leaves_kong_as_it_is() -> None:
    """While the realm is away Kong keeps its keys and the pod stays ready; without any keys it is not ready."""
    with serving() as site:
        loader = loader_of(site)
        site.is_away = True
        assert not loader.load()
        assert "answered 503" in (loader.trouble or "")
        site.is_away, site.keys = False, [jwk("one")]
        assert loader.load()
        site.is_away = True
        assert not loader.load()
        assert loader.trouble is None
        assert len(site.loaded) == 1


def test_a_realm_without_keys_changes_nothing() -> None:
    """A realm that publishes no usable key, or is another issuer, is refused: nothing is loaded."""
    with serving() as site:
        loader = loader_of(site)
        assert not loader.load()
        assert "publishes no key" in (loader.trouble or "")
        site.keys = [jwk("one")]
        site.issuer = "https://id.example/realms/other"
        assert not loader.load()
        assert "calls itself 'https://id.example/realms/other'" in (loader.trouble or "")
        assert site.loaded == []


def test_the_probe_says_whether_kong_has_keys() -> None:
    """`/readyz` is 503 with the reason until the first keys are loaded, and `/healthz` is 200."""
    with serving() as site:
        loader = loader_of(site)
        server = status_server(loader, 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            with urlopen(f"{url}/healthz") as response:
                assert response.status == 200
            with pytest.raises(HTTPError, match="503") as refused:
                urlopen(f"{url}/readyz").close()
            refused.value.close()
            site.keys = [jwk("one")]
            loader.load()
            with urlopen(f"{url}/readyz") as response:
                assert json.load(response) == {"status": "ready"}
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def test_it_loads_until_it_is_stopped() -> None:
    """The keys are loaded again and again; the end of the process stops that."""
    with serving() as site:
        site.keys = [jwk("one")]
        loader, stop = loader_of(site), threading.Event()
        thread = threading.Thread(target=loader.run, args=(stop, 0.001, 0.001))
        thread.start()
        try:
            while len(site.loaded) < 3:
                assert thread.is_alive()
        finally:
            stop.set()
            thread.join()


def test_what_is_missing_is_named() -> None:
    """A missing variable and a configuration without the consumer of the keys are named."""
    with pytest.raises(CannotLoad, match="set LASTRO_IDENTITY and KONG_CONFIGURATION"):
        places({})
    with pytest.raises(CannotLoad, match="no consumer realm"):
        with_keys({"_format_version": "3.0"}, {})
    found = places({"LASTRO_IDENTITY": "https://id.example/realms/lastro/", "KONG_CONFIGURATION": "a.yaml:b.yaml"})
    files = (Path("a.yaml"), Path("b.yaml"))
    assert found == Places("https://id.example/realms/lastro", "http://127.0.0.1:8001", files)
    with_folder = {"LASTRO_IDENTITY": "x", "KONG_CONFIGURATION": "kong.yaml", "KONG_CERTIFICATE": "/tls"}
    assert places(with_folder).certificate == Path("/tls")


def test_a_file_that_is_no_configuration_is_named(tmp_path: Path) -> None:
    """A file that has no mapping, such as an empty one, is named, and Kong keeps what it has."""
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    with pytest.raises(CannotLoad, match=r"empty\.yaml is not a declarative configuration"):
        configuration_of((KONG, empty))


def test_clients_reach_the_realm_and_not_its_console() -> None:
    """Kong, to which the realm's name leads, passes the paths of tokens and of logins on to Keycloak without a token,
    by TLS, and nothing else of it."""
    (service,) = yaml.safe_load(REALM.read_text())["services"]
    assert (service["protocol"], service["host"]) == ("https", "keycloak.keycloak.svc.cluster.local")
    (route,) = service["routes"]
    assert (route["paths"], route["strip_path"]) == (["/realms/", "/resources/"], False)
    plugins = {plugin["name"]: plugin["config"] for plugin in route["plugins"]}
    assert plugins["jwt"]["anonymous"] in {one["username"] for one in yaml.safe_load(KONG.read_text())["consumers"]}
    assert plugins["rate-limiting"]["limit_by"] == "ip"
