"""The secrets on a Vault that is sealed and unsealed, in a server of the test's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import hvac
import pytest

from shared.adapters.vault.address import read_address
from shared.adapters.vault.secrets import VaultSecrets
from shared.adapters.vault.setup import set_up
from shared.core.clock import SystemClock
from shared.core.settings import Settings
from shared.identity.tenancy import SigningSecrets
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import NotOpened
from tests.harness import Harness
from tests.servers.openbao_server import ROOT_TOKEN, OpenbaoServer
from tests.servers.processes import Processes
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real


class Vault:
    """A server of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.processes = Processes(folder)
        self.url = f"{OpenbaoServer().start(self.processes)}?auth=token"
        self.address = read_address(self.url)
        self.client: Any = hvac.Client(self.address.url, token=ROOT_TOKEN)
        self.processes.wait_until_it_says("openbao", "Unseal Key: ")
        found = re.search(r"Unseal Key: (\S+)", self.processes.log("openbao").read_text())
        assert found is not None
        self._key = found[1]
        set_up(self.address, ROOT_TOKEN, lambda _: None)

    def seal(self) -> None:
        self.client.sys.seal()

    def unseal(self) -> None:
        """Unseal, and wait until the server answers."""
        self.client.sys.submit_unseal_key(self._key)
        self.processes.wait_until(self.client.auth.token.lookup_self, "OpenBao")


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """Return a server that is set up, whose root token is in VAULT_TOKEN."""
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    server = Vault(tmp_path)
    yield server
    server.processes.stop()


async def test_requests_fail_with_503_while_vault_is_sealed(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    """While Vault is sealed a request that needs it is answered 503 with the cause in one log line, and afterwards the
    same request succeeds; a signing secret that was used before needs no Vault."""
    harness = Harness.make()
    async with VaultSecrets(vault.address, Settings(), harness.clock) as secrets:
        harness.runtime.secrets = secrets
        harness.runtime.signing_secrets = SigningSecrets(secrets)
        await harness.tenant()
        await harness.user()
        vault.seal()
        body = {
            "kind": "customer",
            "name": "Bia Lima",
            "document": {"type": "cpf", "number": "11144477735"},
            "email": "bia@example.test",
        }
        caplog.clear()
        refused = await harness.call("POST", "/v1/users", body)
        assert (refused.status, refused.code) == (503, "dependency_unavailable")
        lines = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
        assert len(lines) == 1
        assert "sealed" in lines[0]
        assert "sealed" in (await secrets.trouble() or "")
        assert (await harness.call("GET", "/v1/accounts")).status == 200
        vault.unseal()
        harness.clock.advance(timedelta(seconds=1))
        assert (await harness.call("POST", "/v1/users", body)).status == 201
        assert await secrets.trouble() is None


async def test_an_opening_waits_for_a_vault_that_is_sealed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that may wait opens when Vault is unsealed meanwhile; one that may not says that it is sealed."""
    vault.seal()
    hurried = VaultSecrets(vault.address, Settings(), SystemClock(), waits=False)
    with pytest.raises(NotOpened, match=r"LASTRO_SECRETS cannot be used: .+ sealed"):
        async with hurried:
            raise AssertionError("it is sealed")
    waiting = VaultSecrets(vault.address, Settings(start_seconds=PATIENCE_SECONDS), SystemClock())
    attempts = 0
    log_in = waiting._session.log_in

    async def counted() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            vault.unseal()
        await log_in()

    monkeypatch.setattr(waiting._session, "log_in", counted)
    async with waiting:
        assert await waiting.blind_index("a", "t")
    assert attempts >= 2


async def test_a_server_that_ended_is_unavailable(vault: Vault) -> None:
    """After the server has ended, a call fails with the address, and the next ones fail at once for a second."""
    async with VaultSecrets(vault.address, Settings(), SystemClock()) as secrets:
        vault.processes.kill("openbao")
        with pytest.raises(Unavailable, match=f"{vault.address.url}: it cannot be reached"):
            await secrets.seal(["a"], "t")
