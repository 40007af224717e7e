"""Sets up Vault for Lastro: mounts, keys, policies and roles. It changes only what is missing or different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from shared.adapters.vault.address import Address
from shared.adapters.vault.policies import RIGHTS, policy, policy_name
from shared.adapters.vault.secrets import INDEX_KEY
from shared.ports.documents import Unavailable
from shared.ports.secrets import PURPOSES

NAMESPACE: Final = "lastro"
"""The namespace of Kubernetes whose service accounts may log in."""
AUDIENCE: Final = "vault"
"""The audience that a service account's token must have."""
_TOKEN_SECONDS: Final = 3600
_TOKEN_MAXIMUM_SECONDS: Final = 24 * 3600
_CALL_SECONDS: Final = 10


class WrongMount(Exception):
    """A mount has another type than Lastro needs. The text names it and the remedy."""


class _Step(NamedTuple):
    text: str
    do: Callable[[], object]


def set_up(address: Address, token: str, done: Callable[[str], None], *, dry_run: bool = False) -> int:
    """Create the mounts, keys, policies and roles that are missing, and return their number.

    `token` may manage them. `done` is called with the text of each step after it was done, or instead of doing it when
    `dry_run`. Raises WrongMount, and Unavailable when Vault does not answer or refuses the token.
    """
    import hvac
    from hvac.exceptions import VaultError

    verify = address.ca if address.ca is not None else True
    client = hvac.Client(
        url=address.url, token=token, verify=verify, timeout=_CALL_SECONDS, namespace=address.namespace
    )
    steps = 0
    try:
        for step in _missing(client, address):
            if not dry_run:
                step.do()
            done(step.text)
            steps += 1
    except (VaultError, OSError) as error:
        said = ", ".join(map(str, getattr(error, "errors", None) or ())) or type(error).__name__
        raise Unavailable(f"Vault at {address.url}: {said}") from error
    finally:
        client.adapter.close()
    return steps


def _missing(client: Any, address: Address) -> Iterator[_Step]:
    yield from _mounts(client, address)
    yield from _keys(client, address)
    for domain in RIGHTS:
        name, text = policy_name(address, domain), policy(address, domain)
        found = _found(partial(client.sys.read_policy, name))
        if found is None or found["data"]["rules"] != text:
            yield _Step(f"policy {name}", partial(client.sys.create_or_update_policy, name, text))
    if address.auth != "token":
        yield from _roles(client, address)


def _mounts(client: Any, address: Address) -> Iterator[_Step]:
    mounts = client.sys.list_mounted_secrets_engines()["data"]
    kv = mounts.get(f"{address.kv}/")
    if kv is None:
        yield _Step(
            f"secrets engine {address.kv}/ (kv, version 2)",
            lambda: client.sys.enable_secrets_engine("kv", address.kv, options={"version": "2"}),
        )
    elif kv["type"] != "kv" or (kv["options"] or {}).get("version") != "2":
        raise WrongMount(f"{address.kv}/ is not KV version 2: name another mount with kv=… in LASTRO_SECRETS")
    transit = mounts.get(f"{address.transit}/")
    if transit is None:
        yield _Step(
            f"secrets engine {address.transit}/ (transit)",
            lambda: client.sys.enable_secrets_engine("transit", address.transit),
        )
    elif transit["type"] != "transit":
        raise WrongMount(f"{address.transit}/ is not Transit: name another mount with transit=… in LASTRO_SECRETS")


def _keys(client: Any, address: Address) -> Iterator[_Step]:
    transit = client.secrets.transit
    keys = _found(lambda: transit.list_keys(mount_point=address.transit)["data"]["keys"]) or ()
    for purpose in (*sorted(PURPOSES), INDEX_KEY):
        name = f"{address.prefix}-{purpose}"
        if name not in keys:
            # The key of blind indexes is used as it is: HMAC has no derived keys.
            create = partial(transit.create_key, name, derived=purpose != INDEX_KEY, mount_point=address.transit)
            yield _Step(f"key {name}", create)


def _roles(client: Any, address: Address) -> Iterator[_Step]:
    methods = client.sys.list_auth_methods()["data"]
    enabled = f"{address.login}/" in methods
    if not enabled:
        yield _Step(
            f"auth method {address.login}/ ({address.auth})",
            lambda: client.sys.enable_auth_method(address.auth, path=address.login),
        )
    elif methods[f"{address.login}/"]["type"] != address.auth:
        raise WrongMount(f"auth/{address.login} is not {address.auth}: name another one with login=… in LASTRO_SECRETS")
    for domain in RIGHTS:
        name = policy_name(address, domain)
        path = f"auth/{address.login}/role/{name}"
        wanted = _role(address, domain)
        found = _found(partial(client.read, path))
        if found is None or any(found["data"].get(field) != value for field, value in wanted.items()):
            yield _Step(f"role {name}", partial(client.write_data, path, data=wanted))


def _role(address: Address, domain: str) -> dict[str, object]:
    name = policy_name(address, domain)
    role: dict[str, object] = {
        "token_policies": [name],
        "token_ttl": _TOKEN_SECONDS,
        "token_max_ttl": _TOKEN_MAXIMUM_SECONDS,
    }
    if address.auth == "kubernetes":
        role["audience"] = AUDIENCE
        role["bound_service_account_names"] = [name]
        role["bound_service_account_namespaces"] = [NAMESPACE]
    return role


def _found(read: Callable[[], Any]) -> Any:
    from hvac.exceptions import InvalidPath

    try:
        return read()
    except InvalidPath:
        return None
