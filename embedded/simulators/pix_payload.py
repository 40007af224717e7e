"""The signature of the terms of PIX charges: a JWS that the payer's bank reads and checks."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ALGORITHM: Final = "ES256"
KEY_ID: Final = "payload"


class PayloadKey:
    """A key that signs payloads. It is made at its first use and lives as long as the process."""

    @cached_property
    def _key(self) -> EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.generate_private_key(ec.SECP256R1())

    def sign(self, payload: dict[str, Any], keys_url: str) -> str:
        """Return the payload as a compact JWS (RFC 7515). `keys_url` is where the public key is served."""
        import jwt

        return jwt.encode(payload, self._key, ALGORITHM, headers={"kid": KEY_ID, "jku": keys_url})

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key Set (RFC 7517)."""
        from jwt.algorithms import ECAlgorithm

        key = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": KEY_ID, "use": "sig", "alg": ALGORITHM}]}
