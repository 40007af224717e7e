"""The local issuer of tokens. It replaces Keycloak and has the same discovery, key and token endpoints.

It supports the client credentials grant (RFC 6749 §4.4), and token exchange (RFC 8693) in Keycloak's form with
`requested_subject`, by which a tenant's client gets a person's token. Other grants are answered with the errors of
RFC 6749 §5.2.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote_plus
from uuid import uuid4

import orjson

from shared.core.clock import Clock
from shared.identity.keys import MIN_RSA_BITS, StaticKeys
from shared.identity.tenancy import PERSON_SCOPES
from shared.identity.tokens import client_secret_digest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TOKEN_SECONDS: Final = 300
REALM_PATH: Final = "/realms/lastro"
"""The path of the issuer's URL. The paths below are relative to it. All of them are the same as Keycloak's."""
JWKS_PATH: Final = "/protocol/openid-connect/certs"
TOKEN_PATH: Final = "/protocol/openid-connect/token"
_SECRET_NAME: Final = "identity-signing-keys"
_PUBLIC_EXPONENT: Final = 65537
CLIENT_CREDENTIALS: Final = "client_credentials"
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"
_MAX_FORM_FIELDS: Final = 32
_MAX_FORM_BYTES: Final = 16 * 1024


def token_url(base_url: str) -> str:
    """Return the URL of the token endpoint of a platform with this base URL."""
    return base_url.rstrip("/") + REALM_PATH + TOKEN_PATH


class SecretStore(Protocol):
    """The part of the secrets port that the issuer uses."""

    async def get(self, name: str) -> bytes | None:
        """Return a named secret, or None when there is none of that name."""
        ...

    async def put(self, name: str, value: bytes) -> None:
        """Store a named secret, durably before this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. `secret_digest` is `shared.identity.tokens.client_secret_digest` of its secret."""

    client_id: str
    secret_digest: str
    tenant_id: str | None
    scopes: frozenset[str]


class ClientDirectory(Protocol):
    """The directory in which the issuer looks up its clients."""

    async def client(self, client_id: str) -> Client | None:
        """Return the client with this id, or None when it is not registered."""
        ...

    async def has_person(self, tenant_id: str, user_id: str) -> bool:
        """Return whether the tenant has this user, and the user is not closed."""
        ...


class SigningKey:
    """An RSA key pair and its id, the RFC 7638 thumbprint of its public half."""

    def __init__(self, private: RSAPrivateKey) -> None:
        from jwt.algorithms import RSAAlgorithm

        public: dict[str, Any] = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        members = {name: public[name] for name in ("e", "kty", "n")}
        thumbprint = sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
        self.private = private
        self.kid = urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
        self.jwk: dict[str, str] = {**members, "kid": self.kid, "use": "sig", "alg": "RS256"}

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key of 2048 bits."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return cls(rsa.generate_private_key(_PUBLIC_EXPONENT, MIN_RSA_BITS))

    @classmethod
    def from_pem(cls, pem: str) -> SigningKey:
        """Return the key in a PEM text of `to_pem`. Raises ValueError for another text."""
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        private = load_pem_private_key(pem.encode(), None)
        if not isinstance(private, RSAPrivateKey):
            raise ValueError("not an RSA key")  # noqa: TRY004 - the stored text is wrong, not a caller's type
        return cls(private)

    def to_pem(self) -> str:
        """Return the private key as unencrypted PKCS #8; the secret store protects it."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class KeyRing:
    """The signing key, and the previous one, which still verifies the tokens that it signed."""

    def __init__(self, store: SecretStore, active: SigningKey, previous: SigningKey | None = None) -> None:
        self._store = store
        self.active = active
        self.previous = previous
        self.source = StaticKeys(self.jwks())

    @classmethod
    async def load(cls, store: SecretStore) -> KeyRing:
        """Return the stored keys. The first call makes and stores a new key."""
        stored = await store.get(_SECRET_NAME)
        if stored is None:
            ring = cls(store, SigningKey.generate())
            await ring._save()
            return ring
        content = orjson.loads(stored)
        previous = content["previous"]
        return cls(store, SigningKey.from_pem(content["active"]), SigningKey.from_pem(previous) if previous else None)

    async def rotate(self) -> None:
        """Start to sign with a new key; the key before the current one is dropped.

        Tokens live for five minutes. Two rotations within that time refuse tokens that have not expired.
        """
        self.active, self.previous = SigningKey.generate(), self.active
        await self._save()
        self.source.replace(self.jwks())

    def jwks(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517), the active one first."""
        return {"keys": [key.jwk for key in (self.active, self.previous) if key is not None]}

    async def _save(self) -> None:
        # One secret contains both keys, so a crash cannot leave half a rotation.
        previous = self.previous.to_pem() if self.previous is not None else None
        await self._store.put(_SECRET_NAME, orjson.dumps({"active": self.active.to_pem(), "previous": previous}))


class OAuthError(Exception):
    """A refusal of the token endpoint (RFC 6749 §5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = description
        self.status = status


Answer = tuple[int, dict[str, str], bytes]


def _new_token_id() -> str:
    return str(uuid4())


class Issuer:
    """Issues access tokens to registered clients and publishes the keys that verify them."""

    def __init__(
        self,
        issuer_url: str,
        keys: KeyRing,
        clients: ClientDirectory,
        clock: Clock,
        *,
        audience: str = "lastro-api",
        token_id: Callable[[], str] = _new_token_id,
    ) -> None:
        self.issuer_url = issuer_url.rstrip("/")
        self._keys = keys
        self._clients = clients
        self._clock = clock
        self._audience = audience
        self._token_id = token_id

    # Documents

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document (OpenID Connect Discovery 1.0 §3)."""
        return {
            "issuer": self.issuer_url,
            "token_endpoint": self.issuer_url + TOKEN_PATH,
            "jwks_uri": self.issuer_url + JWKS_PATH,
            "grant_types_supported": [CLIENT_CREDENTIALS, TOKEN_EXCHANGE],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def jwks(self) -> dict[str, Any]:
        """Return the public signing keys as a JSON Web Key Set (RFC 7517 §5)."""
        return self._keys.jwks()

    # Tokens

    async def token(self, form: Mapping[str, str], authorization: str | None = None) -> dict[str, Any]:
        """Return the answer to a token request (RFC 6749 §5.1). Empty parameters count as absent (§3.2).

        `authorization` is the request's header. Raises OAuthError.
        """
        given = {name: value for name, value in form.items() if value}
        grant_type = given.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        client = await self._authenticated(given, authorization)
        if grant_type == TOKEN_EXCHANGE:
            person = await self._person(client, given)
            allowed = client.scopes & PERSON_SCOPES
            if not allowed:
                raise OAuthError("invalid_scope", "the client has no scope that a person may have")
            scopes = _granted(allowed, given.get("scope"))
            return {**self._granting(client, scopes, person), "issued_token_type": ACCESS_TOKEN_TYPE}
        if grant_type != CLIENT_CREDENTIALS:
            raise OAuthError("unsupported_grant_type", "this issuer supports client_credentials and token exchange")
        return self._granting(client, _granted(client.scopes, given.get("scope")))

    def _granting(self, client: Client, scopes: frozenset[str], person: str | None = None) -> dict[str, Any]:
        return {
            "access_token": self.issue(client, scopes, person),
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(sorted(scopes)),
        }

    async def _person(self, client: Client, given: Mapping[str, str]) -> str:
        """Return the id of the user that a token exchange names. Raises OAuthError.

        Another tenant's user is answered as an unknown one.
        """
        if client.tenant_id is None:
            raise OAuthError("unauthorized_client", "a client of the platform has no persons")
        if "subject_token" in given:
            raise OAuthError("invalid_request", "subject_token is not supported; name the user by requested_subject")
        if given.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
            raise OAuthError("invalid_request", "requested_token_type can only be an access token")
        user_id = given.get("requested_subject")
        if user_id is None:
            raise OAuthError("invalid_request", "requested_subject is missing")
        if not await self._clients.has_person(client.tenant_id, user_id):
            raise OAuthError("invalid_request", "requested_subject is not a user of the client's tenant, or is closed")
        return user_id

    def issue(self, client: Client, scopes: frozenset[str], person: str | None = None) -> str:
        """Return a signed access token for a client, valid for five minutes; for a person when a user's id is
        given."""
        import jwt

        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self.issuer_url,
            "aud": self._audience,
            "azp": client.client_id,
            "sub": person or client.client_id,
            "scope": " ".join(sorted(scopes)),
            "typ": "Bearer",
            "jti": self._token_id(),
            "iat": now,
            "nbf": now,
            "exp": now + TOKEN_SECONDS,
        }
        if client.tenant_id is not None:
            claims["tenant_id"] = client.tenant_id
        if person is not None:
            claims["user_id"] = person
        key = self._keys.active
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid})

    async def _authenticated(self, form: Mapping[str, str], authorization: str | None) -> Client:
        client_id, secret = _credentials(form, authorization)
        client = await self._clients.client(client_id)
        # The secret of an unknown client is compared too, so that timing does not reveal which client ids exist.
        stored = client.secret_digest if client is not None else _NO_DIGEST
        matches = hmac.compare_digest(client_secret_digest(secret), stored)
        if client is None or not matches:
            _refuse_client("the client is not known or its secret is wrong")
        return client

    # HTTP

    def answer_discovery(self) -> Answer:
        """Return the response to a request for the discovery document."""
        return _json(200, self.discovery(), {"Cache-Control": "max-age=60"})

    def answer_jwks(self) -> Answer:
        """Return the response to a request for the public keys."""
        return _json(200, self.jwks(), {"Cache-Control": "max-age=60"})

    async def answer_token(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the response to a token request (header names in lower case). Refusals are those of RFC 6749 §5.2."""
        try:
            return _json(200, await self.token(_form(headers, body), headers.get("authorization")), _NO_STORE)
        except OAuthError as refusal:
            extra = dict(_NO_STORE)
            if refusal.status == 401:
                extra["WWW-Authenticate"] = 'Basic realm="lastro"'
            document = {"error": refusal.error, "error_description": refusal.description}
            return _json(refusal.status, document, extra)


_NO_DIGEST: Final = client_secret_digest("")
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def _credentials(form: Mapping[str, str], authorization: str | None) -> tuple[str, str]:
    """Return client id and secret, from client_secret_basic or client_secret_post (RFC 6749 §2.3.1), never from
    both."""
    if authorization:
        if "client_secret" in form:
            raise OAuthError("invalid_request", "credentials are in the header and in the body; send them once")
        client_id, secret = _basic(authorization)
        if form.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_request", "client_id differs between the header and the body")
        return client_id, secret
    if "client_id" not in form or "client_secret" not in form:
        _refuse_client("no client credentials")
    return form["client_id"], form["client_secret"]


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        _refuse_client("the Authorization header is not Basic")
    try:
        pair = b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        _refuse_client("the Basic credentials cannot be read")
    # Both parts are form-encoded before they are joined, so neither contains a colon.
    client_id, colon, secret = pair.partition(":")
    if not colon:
        _refuse_client("the Basic credentials cannot be read")
    return unquote_plus(client_id), unquote_plus(secret)


def _refuse_client(description: str) -> NoReturn:
    raise OAuthError("invalid_client", description, 401)


def _granted(allowed: frozenset[str], asked: str | None) -> frozenset[str]:
    if asked is None:
        return allowed
    scopes = frozenset(asked.split(" ")) - {""}
    if not scopes or not scopes <= allowed:
        raise OAuthError("invalid_scope", "the client, or the person, does not have this scope")
    return scopes


def _form(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "the body must be application/x-www-form-urlencoded")
    if len(body) > _MAX_FORM_BYTES:
        raise OAuthError("invalid_request", "the body is too large")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FORM_FIELDS, errors="strict")
    except ValueError:
        raise OAuthError("invalid_request", "the body cannot be read") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "a parameter occurs more than once")
    return form


def _json(status: int, document: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
    return status, {"Content-Type": "application/json", **headers}, orjson.dumps(document)
