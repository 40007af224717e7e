"""Gives Kong the keys with which the realm signs tokens and the certificate of its port, and again when they change.

`python -m shared.edge.kong_keys` runs beside Kong, which without a database has no other way to learn of a rotation.
The realm's keys are read by OpenID Connect discovery; each becomes a credential of Kong's plugin `jwt`, found by the
key's id, in the declarative configuration that Kong has already. The route to the realm is added to it, too. A key that
the realm no longer publishes is gone with the next configuration. While the realm does not answer, Kong goes on with
the keys that it has.

The certificate is that of a folder (a Secret of the type kubernetes.io/tls), for the names that it has. A renewed one
is served from the next configuration on, without a restart; connections that are open keep theirs. Without files in
the folder Kong serves a certificate of its own.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

log = logging.getLogger(__name__)
PERIOD_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
STATUS_PORT: Final = 8002
_TIMEOUT_SECONDS: Final = 10.0
_MAX_BYTES: Final = 1024 * 1024
_ALGORITHMS: Final = {"RSA": ("RS256",), "EC": ("ES256",)}
CONSUMER: Final = "realm"


class CannotLoad(Exception):
    """The realm or Kong did not answer as expected. The text says which and why."""


class Places(NamedTuple):
    """Where the realm, Kong's admin API and the declarative configuration are, and the folder of the certificate, if
    there is one."""

    realm: str
    admin: str
    configuration: tuple[Path, ...]
    """The first file is the configuration; of each other one the services are added to it."""
    certificate: Path | None = None


def places(environment: Mapping[str, str]) -> Places:
    """Read LASTRO_IDENTITY, KONG_ADMIN, KONG_CONFIGURATION, one or more paths with `:` between them, and
    KONG_CERTIFICATE. Raises CannotLoad for one that is missing; the folder of the certificate need not be given."""
    missing = [name for name in ("LASTRO_IDENTITY", "KONG_CONFIGURATION") if not environment.get(name)]
    if missing:
        raise CannotLoad(f"set {' and '.join(missing)}")
    admin = environment.get("KONG_ADMIN") or "http://127.0.0.1:8001"
    folder = environment.get("KONG_CERTIFICATE")
    return Places(
        environment["LASTRO_IDENTITY"].rstrip("/"),
        admin,
        tuple(map(Path, environment["KONG_CONFIGURATION"].split(":"))),
        Path(folder) if folder else None,
    )


def configuration_of(files: Sequence[Path]) -> dict[str, Any]:
    """Return the declarative configuration of the first file with the services of the others. Raises CannotLoad."""
    first, *others = (_mapping(path) for path in files)
    for other in others:
        first["services"] = [*(first.get("services") or []), *(other.get("services") or [])]
    return first


def _mapping(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise CannotLoad(f"{path} is not a declarative configuration of Kong")
    return found


def realm_keys(realm: str) -> dict[str, tuple[str, str]]:
    """Return the realm's signing keys by their ids: the algorithm and the public key in PEM. Raises CannotLoad."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    discovered = _json(f"{realm}/.well-known/openid-configuration")
    if discovered.get("issuer") != realm:
        raise CannotLoad(f"the realm at {realm} calls itself {discovered.get('issuer')!r}")
    found = {}
    for key in _json(str(discovered.get("jwks_uri"))).get("keys", []):
        if key.get("use", "sig") != "sig" or key.get("alg") not in _ALGORITHMS.get(str(key.get("kty")), ()):
            continue
        try:
            found[str(key["kid"])] = (str(key["alg"]), _pem(PyJWK(key).key))
        except (KeyError, PyJWTError, ValueError) as error:
            raise CannotLoad(f"a key of the realm cannot be read: {error}") from None
    if not found:
        raise CannotLoad(f"the realm at {realm} publishes no key for RS256 or ES256")
    return found


def with_keys(document: dict[str, Any], keys: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return Kong's declarative configuration with the keys as credentials of its consumer `realm`.

    Raises CannotLoad when the configuration has no such consumer.
    """
    consumers = document.get("consumers") or []
    owner = next((one for one in consumers if one.get("username") == CONSUMER), None)
    if owner is None:
        raise CannotLoad(f"the configuration has no consumer {CONSUMER}")
    owner["jwt_secrets"] = [
        {"key": kid, "algorithm": algorithm, "rsa_public_key": pem} for kid, (algorithm, pem) in sorted(keys.items())
    ]
    return document


def certificate_in(folder: Path) -> dict[str, Any] | None:
    """Return the certificate of a folder with its key and names as Kong's declarative configuration has it, or None
    without one. Raises CannotLoad when it cannot be used."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain, key = folder / "tls.crt", folder / "tls.key"
    if not chain.exists() and not key.exists():
        return None
    try:
        cert, private = chain.read_text(encoding="ascii"), key.read_text(encoding="ascii")
        found = x509.load_pem_x509_certificate(cert.encode())
        own = load_pem_private_key(private.encode(), None).public_key()
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound) as error:
        raise CannotLoad(f"the certificate in {folder} cannot be used: {error}") from None
    # The files are replaced one after the other for one who reads them at that moment.
    if found.public_key() != own:
        raise CannotLoad(f"the certificate in {folder} has another key than tls.key")
    hosts = sorted(set(names.get_values_for_type(x509.DNSName)))
    if not hosts:
        raise CannotLoad(f"the certificate in {folder} has no DNS name")
    return {"cert": cert, "key": private, "snis": [{"name": host} for host in hosts]}


def load_into_kong(admin: str, document: Mapping[str, Any]) -> None:
    """Replace Kong's configuration, unless it is this one already. Raises CannotLoad."""
    # JSON is YAML, and Kong compares the digest of the text that it had before.
    body = json.dumps({"config": json.dumps(document, sort_keys=True)}).encode()
    _send(
        urllib.request.Request(  # noqa: S310 - the address is a setting
            f"{admin.rstrip('/')}/config?check_hash=1",
            data=body,
            headers={"content-type": "application/json"},
            method="POST",
        )
    )


class Loader:
    """Loads the keys and the certificate again and again, and says whether it has."""

    def __init__(self, where: Places) -> None:
        self._where = where
        self._last: dict[str, tuple[str, str]] | None = None
        self._certificate: dict[str, Any] | None = None
        self.trouble: str | None = "the keys were not loaded yet"
        """Why Kong has no keys, or None when it has some."""

    def load(self) -> bool:
        """Load the keys and the certificate once. Return whether it worked; a failure is logged."""
        try:
            keys = realm_keys(self._where.realm)
            document = with_keys(configuration_of(self._where.configuration), keys)
            certificate = self._certificate_now()
            if certificate is not None:
                document["certificates"] = [certificate]
            load_into_kong(self._where.admin, document)
        except (CannotLoad, OSError, yaml.YAMLError) as error:
            log.warning("the keys were not loaded: %s", error)
            if self._last is None:
                self.trouble = str(error)
            return False
        if keys != self._last:
            log.info("Kong has the keys %s", ", ".join(sorted(keys)))
        if certificate != self._certificate:
            log.info("Kong has the certificate of %s", self._where.certificate)
        self._last, self._certificate, self.trouble = keys, certificate, None
        return True

    def _certificate_now(self) -> dict[str, Any] | None:
        """Return the certificate of the folder. One that cannot be used does not stop the keys: Kong goes on with the
        former one, and refuses to begin with none. Raises CannotLoad."""
        if self._where.certificate is None:
            return None
        try:
            return certificate_in(self._where.certificate)
        except CannotLoad as error:
            if self._last is None:
                raise
            log.warning("%s; Kong goes on with the former one", error)
            return self._certificate

    def run(self, stop: threading.Event, period: float = PERIOD_SECONDS, retry: float = RETRY_SECONDS) -> None:
        """Load them until `stop` is set. Kong that was restarted gets them within the period, too."""
        while not stop.wait(period if self.load() else retry):
            pass


def status_server(loader: Loader, port: int = STATUS_PORT) -> ThreadingHTTPServer:
    """Return a server of `/healthz` and `/readyz` on all addresses; ready means that Kong has keys."""

    class Status(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a probe."""
            trouble = loader.trouble if self.path == "/readyz" else None
            body = json.dumps({"status": "not ready", "reason": trouble} if trouble else {"status": "ready"}).encode()
            self.send_response(503 if trouble else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: probes come all the time."""

    return ThreadingHTTPServer(("", port), Status)


def main() -> None:
    """Run until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loader = Loader(places(os.environ))
    server = status_server(loader)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    loader.run(stop)
    server.shutdown()


def _pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return str(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def _json(url: str) -> dict[str, Any]:
    if not url.startswith(("http://", "https://")):
        raise CannotLoad(f"{url!r} is not an http:// or https:// URL")
    text = _send(urllib.request.Request(url))  # noqa: S310 - checked above
    try:
        found = json.loads(text)
    except ValueError:
        raise CannotLoad(f"{url} did not answer with JSON") from None
    if not isinstance(found, dict):
        raise CannotLoad(f"{url} did not answer with a JSON object")
    return found


def _send(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - see the callers
            return bytes(response.read(_MAX_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode(errors="replace")
        raise CannotLoad(f"{request.full_url} answered {error.code}: {said}") from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise CannotLoad(f"{request.full_url} cannot be reached: {getattr(error, 'reason', error)}") from None


if __name__ == "__main__":
    main()
