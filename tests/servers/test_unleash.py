"""The Unleash server for tests."""

from __future__ import annotations

from uuid import uuid4

import httpx

from tests.servers.unleash_server import ADMIN_TOKEN, CLIENT_TOKEN, UnleashServer


def test_a_flag_is_made_and_read_by_a_client(unleash_url: str) -> None:
    """A flag that an administrator creates and enables is enabled for the token of a client."""
    api = UnleashServer.api_of(unleash_url)
    name = f"tests-{uuid4()}"
    flags = f"{api}/admin/projects/default/features"
    with httpx.Client(headers={"Authorization": ADMIN_TOKEN}, timeout=120) as admin:
        admin.post(flags, json={"name": name, "type": "release"}).raise_for_status()
        strategies = f"{flags}/{name}/environments/development/strategies"
        admin.post(strategies, json={"name": "default"}).raise_for_status()
        admin.post(f"{flags}/{name}/environments/development/on").raise_for_status()
    with httpx.Client(headers={"Authorization": CLIENT_TOKEN}, timeout=120) as client:
        read = client.get(f"{api}/client/features/{name}").raise_for_status().json()
    assert read["name"] == name
    assert read["enabled"]
