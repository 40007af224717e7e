"""Reads the URL in LASTRO_FLAGS."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.core.settings import InvalidSettings

_SCHEMES: Final = {"unleash+https": "https", "unleash+http": "http"}
_OPTIONS: Final = ("app", "ca")
_API: Final = "/api"


class Address(NamedTuple):
    """Unleash's API, and the client that reads it."""

    url: str
    """The URL of the API, such as `https://unleash.example/api`."""
    token: str
    """A backend token: `<project>:<environment>.<secret>`."""
    app: str
    """The name by which Unleash shows this client."""
    ca: str | None
    """A file with the certificates of the accepted authorities; None means those of the system."""

    @property
    def scope(self) -> str:
        """The project and the environment that the token reads, `<project>:<environment>`; they are not secret."""
        return self.token.partition(".")[0]


def read_address(url: str) -> Address:
    """Return the address in a URL: `unleash+https://:token@host[:port][/path][?app=name&ca=file]`.

    The path is `/api` if there is none; `unleash+http://` has no TLS. Characters of the token that a URL may not have
    are percent-encoded. Raises InvalidSettings, whose text has no part of the URL but the names of its options.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidSettings("LASTRO_FLAGS has a host or port that is not valid") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not host or parts.fragment:
        raise InvalidSettings("LASTRO_FLAGS is not a URL of the form unleash+https://:token@host/api")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise InvalidSettings(f"LASTRO_FLAGS has the option {unknown[0]!r}; known are {', '.join(_OPTIONS)}")
    username, _, password = parts.netloc.rpartition("@")[0].partition(":")
    token = unquote(password)
    if username or not _is_token(token):
        raise InvalidSettings(
            "LASTRO_FLAGS needs a backend token of Unleash in the place of a password: "
            "unleash+https://:<project>:<environment>.<secret>@host/api"
        )
    shown = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/") or _API
    return Address(
        url=f"{scheme}://{shown}{'' if port is None else f':{port}'}{path}",
        token=token,
        app=options.get("app") or "lastro",
        ca=options.get("ca"),
    )


def _is_token(text: str) -> bool:
    scope, dot, secret = text.partition(".")
    project, colon, environment = scope.partition(":")
    return bool(text.isascii() and text.isprintable() and dot and secret and colon and project and environment)
