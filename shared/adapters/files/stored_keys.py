"""The local issuer's public keys, read from the vault in which it stores its key pairs.

With them, a function started alone in the platform's data directory verifies the platform's tokens without a request to
the platform.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.identity.keys import StaticKeys
from shared.ports.secrets import Secrets

if TYPE_CHECKING:
    from jwt import PyJWK

SECRET_NAME: Final = "identity-signing-keys"


class StoredKeys:
    """The key source of the stored key pairs. It reads them again when a key id is unknown."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._stored: bytes | None = None
        self._keys = StaticKeys({"keys": []})

    async def key(self, kid: str) -> PyJWK | None:
        known = await self._keys.key(kid)
        if known is not None:
            return known
        stored = await self._secrets.get(SECRET_NAME)
        if stored is not None and stored != self._stored:
            self._stored = stored
            pairs = orjson.loads(stored)
            self._keys.replace({"keys": [public_jwk(pem) for pem in (pairs["active"], pairs["previous"]) if pem]})
        # Another call may have read them meanwhile.
        return await self._keys.key(kid)


def public_jwk(pem: str) -> dict[str, Any]:
    """Return the public key of an RSA key pair as a JWK (RFC 7517). Its id is its thumbprint (RFC 7638)."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from jwt.algorithms import RSAAlgorithm

    private = load_pem_private_key(pem.encode(), None)
    if not isinstance(private, RSAPrivateKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 - the stored text is wrong, not a caller's type
    full: dict[str, Any] = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    members = {name: full[name] for name in ("e", "kty", "n")}
    digest = sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest()
    kid = urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {**members, "kid": kid, "use": "sig", "alg": "RS256"}
