"""The platform as a whole: its first start, later starts and its wiring."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from embedded.manifests.findings import ManifestError
from embedded.platform.platform import ROOT, Options, Platform
from shared.core.settings import Settings
from shared.ports.lifecycle import NotOpened
from tests.contract.calling import brl, new_account, new_pair, running
from tests.ports.lifecycle_suite import assert_nothing_is_left, left_open
from tests.waiting import PATIENCE_SECONDS


def _settings(data_dir: Path) -> Settings:
    return Settings(data_dir=str(data_dir), data_lock_seconds=0.1)


async def test_the_first_start_writes_the_credentials(tmp_path: Path) -> None:
    """credentials.json has the fields of the contract and is readable only by its owner."""
    platform = await Platform.start(_settings(tmp_path), Options(writer="thread"))
    await platform.stop()
    path = tmp_path / "credentials.json"
    content = json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert content.keys() == {"base_url", "token_url", "audience", "platform", "demo"}
    assert content["platform"].keys() == {"client_id", "client_secret"}
    assert content["demo"].keys() == {"tenant_id", "client_id", "client_secret", "key_id", "signing_secret"}
    assert content["demo"]["tenant_id"] == "demo"
    assert content["token_url"] == content["base_url"] + "/realms/lastro/protocol/openid-connect/token"


async def test_a_later_start_keeps_the_credentials(tmp_path: Path) -> None:
    """A later start changes no secret, writes a changed address, and keeps other fields of the file."""
    async with running(tmp_path):
        pass
    path = tmp_path / "credentials.json"
    first = json.loads(path.read_text())
    first["tenants"] = {"acme": {**first["demo"], "tenant_id": "acme"}}
    path.write_text(json.dumps(first))
    async with running(tmp_path, base_url="http://127.0.0.1:9") as deployment:
        await deployment.tenant()
    second = json.loads(path.read_text())
    assert second["base_url"] == "http://127.0.0.1:9"
    assert {**second, "base_url": "", "token_url": ""} == {**first, "base_url": "", "token_url": ""}


async def test_an_interrupted_first_start_is_finished_by_the_next(tmp_path: Path) -> None:
    """When the file was not written, the next start writes it with the secrets that were made."""
    async with running(tmp_path):
        pass
    path = tmp_path / "credentials.json"
    before = path.read_text()
    path.unlink()
    async with running(tmp_path) as deployment:
        await (await deployment.tenant()).read("/v1/accounts")
    assert path.read_text() == before


async def test_without_a_demo_tenant(tmp_path: Path) -> None:
    """`--no-demo` creates no demo tenant, and a later start without it creates one."""
    for demo in (False, True):
        platform = await Platform.start(_settings(tmp_path), Options(demo=demo, writer="thread"))
        await platform.stop()
        assert ("demo" in json.loads((tmp_path / "credentials.json").read_text())) is demo


async def test_a_data_directory_has_one_platform(tmp_path: Path) -> None:
    """A second platform on the same directory is refused with the directory's name, and the first continues."""
    async with running(tmp_path) as deployment:
        with pytest.raises(NotOpened, match=str(tmp_path)):
            await Platform.start(_settings(tmp_path), Options(writer="thread"))
        assert (await deployment.wire.send("GET", "/readyz")).status == 200


async def test_a_trigger_without_a_filter_does_not_start(tmp_path: Path) -> None:
    """A Trigger that would send every event to a function of one type is refused with its file and line."""
    for folder in ("knative", "kafka-sources"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    triggers = tmp_path / "knative/eventing/triggers/accounts.yaml"
    text = triggers.read_text()
    begin, end = text.index("  filters:\n"), text.index("  subscriber:\n")
    triggers.write_text(text[:begin] + "  filters: []\n" + text[end:])
    with pytest.raises(ManifestError) as refused:
        await Platform.start(_settings(tmp_path / "data"), Options(writer="thread", root=tmp_path))
    assert str(refused.value) == (
        "knative/eventing/triggers/accounts.yaml:14: Trigger accounts-hold-funds, spec.filters: "
        "the Trigger does not name the types that pass, and accounts/hold_funds accepts only "
        "lastro.card.authorized.v1, lastro.card.declined.v1, lastro.payment.created.v1 and lastro.refund.created.v1; "
        "name the types with exact."
    )


async def test_a_server_that_this_version_cannot_use_is_refused(tmp_path: Path) -> None:
    """A URL without an adapter is an error that names the setting, before any file is created."""
    with pytest.raises(ValueError, match="LASTRO_DOCUMENTS"):
        await Platform.start(Settings(data_dir=str(tmp_path / "x"), documents="mysql://somewhere"))
    assert not (tmp_path / "x").exists()


async def test_payments_settle_with_the_framework_invoker(tmp_path: Path) -> None:
    """With `--faithful`, deposit, payment and statement work through functions-framework, as in a container."""
    async with running(tmp_path, faithful=True) as deployment:
        client = await deployment.tenant()
        payer, payee = await new_account(client, overdraft_limit=0), await new_account(client)
        wait = (("prefer", "wait=10"),)
        deposit = {"account_id": payer, "amount": brl(500), "method": "pix"}
        assert (await client.made("/v1/deposits", deposit, also=wait))["status"] == "settled"
        body = {"amount": brl(200), "method": "internal", "payer_account_id": payer, "payee_account_id": payee}
        answer = await client.post("/v1/payments", body, also=wait)
        assert answer.document["status"] == "settled"
        assert answer.header("ratelimit-limit") == "20000"
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        balance = await client.read(f"/v1/accounts/{payer}/balance")
        statement = await client.read(f"/v1/accounts/{payer}/statement")
        assert balance["available"] == 300
        assert [line["balance_after"]["value"] for line in statement["data"]] == [500, 300]
        page = await client.get("/v1/none")
        assert page.code == "not_found"


async def test_all_state_is_present_after_a_restart(tmp_path: Path) -> None:
    """After a stop and a restart, every account, payment and balance is present."""
    async with running(tmp_path) as deployment:
        pair = await new_pair(await deployment.tenant())
        payment = await pair.paid()
    async with running(tmp_path) as deployment:
        client = await deployment.tenant()
        assert await client.read(f"/v1/payments/{payment['id']}") == payment
        assert (await client.read(f"/v1/accounts/{pair.payee}/balance"))["posted"] == 100


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    """A start that is cancelled at any point leaves no thread, task or open file, and the next start succeeds."""
    settings = Settings(data_dir=str(tmp_path), data_lock_seconds=0.0)
    async with running(tmp_path):
        pass  # everything that is loaded once is loaded now
    before = left_open()
    for steps in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377):
        starting = asyncio.create_task(Platform.start(settings, Options(writer="thread")))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_done = starting.done()
        starting.cancel()
        await asyncio.wait((starting,))
        if not starting.cancelled():
            await starting.result().stop()
        await assert_nothing_is_left(before)
        if was_done:
            break
    async with running(tmp_path, data_lock_seconds=0.0) as deployment:
        assert (await deployment.wire.send("GET", "/readyz")).status == 200
