"""Creates in Unleash what the definition of the flags has and Unleash does not. What exists is never changed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.adapters.unleash.address import Address
from shared.ports.documents import Unavailable

if TYPE_CHECKING:
    import httpx

_CALL_SECONDS: Final = 30
_EVERY_PROJECT: Final = ("*", "[]")
_DEFAULT_PROJECT: Final = "default"


class _Step(NamedTuple):
    text: str
    do: Callable[[], object]


def set_up(
    address: Address, token: str, definition: Mapping[str, Any], done: Callable[[str], None], *, dry_run: bool = False
) -> int:
    """Create the context fields and flags of a definition that are missing, and return the number of steps.

    They are created in the project and the environment of the address. `token` is an administrator's. `definition` has
    the format of Unleash's export (knative/platform/unleash/flags.json). A flag that has a strategy in the environment
    is left as it is. `done` is called with the text of each step after it was done, or instead of doing it when
    `dry_run`.
    Raises Unavailable when Unleash does not answer or refuses.
    """
    import httpx

    verify: Any = True if address.ca is None else ssl.create_default_context(cafile=address.ca)
    steps = 0
    headers = {"Authorization": token}
    try:
        with httpx.Client(base_url=address.url, headers=headers, timeout=_CALL_SECONDS, verify=verify) as client:
            for step in _missing(client, address, definition):
                if not dry_run:
                    step.do()
                done(step.text)
                steps += 1
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"Unleash at {address.url}: {str(error) or type(error).__name__}") from error
    return steps


def _missing(client: httpx.Client, address: Address, definition: Mapping[str, Any]) -> Iterator[_Step]:
    project, _, environment = address.scope.partition(":")
    if project in _EVERY_PROJECT:
        project = _DEFAULT_PROJECT
    for field in definition["contextFields"]:
        if not _exists(client, f"/admin/context/{field['name']}"):
            yield _Step(f"context field {field['name']}", partial(_post, client, "/admin/context", field))
    enabled = {each["featureName"]: each["enabled"] for each in definition["featureEnvironments"]}
    for feature in definition["features"]:
        name = feature["name"]
        place = f"/admin/projects/{project}/features"
        if not _exists(client, f"{place}/{name}"):
            fields = {key: feature[key] for key in ("name", "type", "description")}
            yield _Step(f"flag {name}", partial(_post, client, place, fields))
        environments = f"{place}/{name}/environments/{environment}"
        # In a dry run the flag may not exist yet.
        found = _get(client, environments)
        if found is not None and found.json()["strategies"]:
            continue
        strategies = [each for each in definition["featureStrategies"] if each["featureName"] == name]
        yield _Step(
            f"flag {name} in {environment}: {'on' if enabled[name] else 'off'}",
            partial(_set_strategies, client, environments, strategies, enabled=enabled[name]),
        )


def _set_strategies(client: httpx.Client, environment: str, strategies: list[dict[str, Any]], *, enabled: bool) -> None:
    # Switched before it has strategies, so that an interrupted step is done again.
    _post(client, f"{environment}/{'on' if enabled else 'off'}", None)
    for strategy in strategies:
        fields = {key: strategy[key] for key in ("name", "parameters", "constraints")}
        _post(client, f"{environment}/strategies", fields)


def _exists(client: httpx.Client, path: str) -> bool:
    return _get(client, path) is not None


def _get(client: httpx.Client, path: str) -> httpx.Response | None:
    response = client.get(path)
    if response.status_code == 404:
        return None
    return _accepted(response)


def _post(client: httpx.Client, path: str, fields: Mapping[str, Any] | None) -> None:
    _accepted(client.post(path, json=fields))


def _accepted(response: httpx.Response) -> httpx.Response:
    """Return a successful response. Raises Unavailable with Unleash's reason for another one."""
    if response.is_success:
        return response
    try:
        reason = response.json().get("message") or response.reason_phrase
    except ValueError:
        reason = response.reason_phrase
    path = response.request.url.path
    raise Unavailable(f"Unleash at {response.request.url.host}: {path} answered {response.status_code}: {reason}")
