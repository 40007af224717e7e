"""The OpenBao server for tests."""

from __future__ import annotations

from uuid import uuid4

import hvac

from tests.servers.openbao_server import ROOT_TOKEN


def test_secrets_and_transit_keys(openbao_url: str) -> None:
    """Secrets have versions, and a transit key encrypts and decrypts data on the server."""
    client = hvac.Client(openbao_url.removeprefix("vault+"), token=ROOT_TOKEN)
    path = f"tests/{uuid4()}"
    client.secrets.kv.v2.create_or_update_secret(path, {"key": "one"})
    client.secrets.kv.v2.create_or_update_secret(path, {"key": "two"})
    read = client.secrets.kv.v2.read_secret_version(path, raise_on_deleted_version=True)
    assert read["data"]["data"] == {"key": "two"}
    assert read["data"]["metadata"]["version"] == 2

    mount = f"transit-{uuid4()}"
    client.sys.enable_secrets_engine("transit", mount)
    client.secrets.transit.create_key("pii", mount_point=mount)
    sealed = client.secrets.transit.encrypt_data("pii", "bGFzdHJv", mount_point=mount)["data"]["ciphertext"]
    opened = client.secrets.transit.decrypt_data("pii", sealed, mount_point=mount)["data"]["plaintext"]
    assert opened == "bGFzdHJv"
