"""The first tenant of a cluster, and the file with its credentials."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from deployment.commands import DeploymentFailed
from embedded.identity.credentials import FILE_NAME, Credentials, tenant_entry

TENANT: Final = "demo"
_AUDIENCE: Final = "lastro-api"
_PLATFORM: Final = "lastro-platform"
_SECONDS: Final = 120
_ATTEMPTS: Final = 60
_PAUSE_SECONDS: Final = 2.0


class Platform(NamedTuple):
    """Where a client reaches a cluster: the gateway, the token endpoint of the realm, and the secret of the platform's
    own client there."""

    base_url: str
    token_url: str
    client_secret: str


def create(platform: Platform, folder: Path, *, name: str = TENANT) -> None:
    """Create a tenant through the gateway, wait until it is active, and write credentials.json for `lastro`.

    It can be repeated: credentials that are there stay, and the request has one idempotency key, whose answer has them.
    Raises DeploymentFailed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = _platform_token(platform)
    found = Credentials.read(folder)
    if found is None or found.base_url != platform.base_url or found.demo is None:
        found = Credentials(folder / FILE_NAME, platform.base_url, platform.token_url, _AUDIENCE)
        found.platform = {"client_id": _PLATFORM, "client_secret": platform.client_secret}
        headers = {"authorization": f"Bearer {token}", "idempotency-key": f"cluster/{name}-tenant", "prefer": "wait=10"}
        body = {"id": name, "name": name.capitalize()}
        found.demo = tenant_entry(_until_answered("POST", f"{platform.base_url}/v1/tenants", headers, body))
        found.write()
    _until_active(f"{platform.base_url}/v1/tenants/{name}", token)


def _until_active(url: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    for _ in range(_ATTEMPTS):
        if _until_answered("GET", url, headers)["status"] == "active":
            return
        time.sleep(_PAUSE_SECONDS)
    raise DeploymentFailed(f"the tenant is not active after {_ATTEMPTS * _PAUSE_SECONDS:.0f} s")


def _until_answered(method: str, url: str, headers: Mapping[str, str], body: object = None) -> Any:
    """Send a request until it is answered with 2xx: functions may start, and refuse while their stores are opened."""
    last = ""
    for _ in range(_ATTEMPTS):
        try:
            answer = httpx.request(method, url, headers=dict(headers), json=body, timeout=_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            last = repr(error)
        else:
            if answer.is_success:
                return answer.json()
            last = f"{answer.status_code} {answer.text[:300]}"
            if answer.status_code < 500 and answer.status_code not in (404, 409, 429):
                break
        time.sleep(_PAUSE_SECONDS)
    raise DeploymentFailed(f"{method} {url}: {last}")


def _platform_token(platform: Platform) -> str:
    login = {"grant_type": "client_credentials"}
    auth = (_PLATFORM, platform.client_secret)
    try:
        answer = httpx.post(platform.token_url, data=login, auth=auth, timeout=_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise DeploymentFailed(f"the realm does not answer at {platform.token_url}: {error!r}") from None
    if not answer.is_success:
        raise DeploymentFailed(f"no token of {platform.token_url}: {answer.status_code} {answer.text[:300]}")
    return str(answer.json()["access_token"])
