"""Reads the URL in LASTRO_SECRETS and the credentials that it refers to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast, get_args
from urllib.parse import parse_qsl, urlsplit

from shared.core.settings import InvalidSettings

Auth = Literal["kubernetes", "approle", "token"]
"""The login methods: a service account's token, a role id with a secret id, or an existing token."""

SERVICE_ACCOUNT_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
"""The path at which Kubernetes mounts a pod's service-account token."""
_SCHEMES: Final = {"vault+https": "https", "vault+http": "http"}
_OPTIONS: Final = (
    "auth",
    "login",
    "role",
    "role_id_file",
    "secret_id_file",
    "token_file",
    "namespace",
    "kv",
    "transit",
    "prefix",
    "ca",
)
_PORT: Final = 8200


class NoCredentials(Exception):
    """A credential is missing or its file cannot be read. The text names the variable or the file, never its value."""


class Address(NamedTuple):
    """The server, the login method, and the mounts and prefix of Lastro's secrets and keys."""

    url: str
    auth: Auth
    login: str
    """The mount of the auth method."""
    role: str
    """The role of a login with a service account."""
    role_id_file: str | None
    secret_id_file: str | None
    token_file: str | None
    namespace: str | None
    kv: str
    """The mount of KV version 2."""
    transit: str
    """The mount of Transit."""
    prefix: str
    """The folder of the named secrets in KV, and the prefix of the names of keys, policies and roles."""
    ca: str | None
    """A file with the certificates of the accepted authorities; None means those of the system."""

    def credential(self, file: str | None, variable: str) -> str:
        """Return a credential from its file or, without one, from its variable. Raises NoCredentials.

        It is read for each login, because a file or variable may have been replaced.
        """
        if file is None:
            value = os.environ.get(variable, "").strip()
            if not value:
                raise NoCredentials(f"the variable {variable} is not set")
            return value
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise NoCredentials(f"{file} cannot be read: {reason}") from None
        if not value:
            raise NoCredentials(f"{file} is empty")
        return value


def read_address(url: str, environment: Mapping[str, str] | None = None) -> Address:
    """Return the address that a URL names: `vault+https://host[:port][?option=value&…]`; `vault+http://` has no TLS.

    docs/settings.md describes the options. The role may also be in the variable VAULT_ROLE.

    Raises InvalidSettings. The text has no part of the URL but the names of its options.
    """
    variables = os.environ if environment is None else environment
    scheme, host = _host(url)
    try:
        options = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing="?" in url))
    except ValueError:
        raise InvalidSettings("LASTRO_SECRETS has a query that is not of the form option=value&…") from None
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise InvalidSettings(f"LASTRO_SECRETS has the option {unknown[0]!r}; known are {', '.join(_OPTIONS)}")
    empty = sorted(name for name, value in options.items() if not value.strip("/"))
    if empty:
        raise InvalidSettings(f"LASTRO_SECRETS has no value for the option {empty[0]!r}")
    auth = options.get("auth", "kubernetes")
    if auth not in get_args(Auth):
        raise InvalidSettings(f"LASTRO_SECRETS has an auth that is not one of {', '.join(get_args(Auth))}")
    role = options.get("role") or variables.get("VAULT_ROLE", "")
    if auth == "kubernetes" and not role:
        raise InvalidSettings(
            "LASTRO_SECRETS logs in with a service account and names no role: add role=… to its query"
        )
    return Address(
        url=f"{scheme}://{host}",
        auth=cast("Auth", auth),
        login=options.get("login", auth).strip("/"),
        role=role,
        role_id_file=options.get("role_id_file"),
        secret_id_file=options.get("secret_id_file"),
        token_file=options.get("token_file") or (SERVICE_ACCOUNT_TOKEN if auth == "kubernetes" else None),
        namespace=options.get("namespace"),
        kv=options.get("kv", "secret").strip("/"),
        transit=options.get("transit", "transit").strip("/"),
        prefix=options.get("prefix", "lastro").strip("/"),
        ca=options.get("ca"),
    )


def _host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidSettings("LASTRO_SECRETS has a host or port that is not valid") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not host or parts.path.strip("/") or parts.fragment:
        raise InvalidSettings("LASTRO_SECRETS is not a URL of the form vault+https://host:port?option=value&…")
    if "@" in parts.netloc:
        raise InvalidSettings(
            "LASTRO_SECRETS has a user or password: put the credentials into files or variables (docs/settings.md)"
        )
    shown = f"[{host}]" if ":" in host else host
    return scheme, f"{shown}:{_PORT if port is None else port}"
