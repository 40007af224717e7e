"""How a client proves to a provider who it is."""

from __future__ import annotations

from typing import Any, NamedTuple


class Credentials(NamedTuple):
    """How a client proves to a provider who it is.

    Without `client_id` no token is requested. `token_url` is by default the provider's URL and `/oauth/token`.
    `certificate` is a PEM file with the client's key and certificates; `authority` a PEM file with the certificates
    that the provider's is checked against, by default the system's.
    """

    client_id: str = ""
    client_secret: str = ""
    token_url: str = ""
    certificate: str = ""
    authority: str = ""


def tls_context(credentials: Credentials) -> Any:
    """Return the SSL context with the client's certificate. Raises ValueError, which names the file and the reason."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=credentials.authority or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{credentials.authority} has no certificates of an authority: {error}") from None
    if credentials.certificate:
        try:
            context.load_cert_chain(credentials.certificate)
        except (OSError, ssl.SSLError) as error:
            reason = "is not a PEM file with a key and its certificate"
            raise ValueError(f"{credentials.certificate} {reason}: {error}") from None
    return context
