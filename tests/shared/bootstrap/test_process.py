"""The parts of a process, and the runtime of a function that runs alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import orjson
import pytest

from shared.adapters.files.stored_keys import SECRET_NAME, StoredKeys, public_jwk
from shared.adapters.sqlite.log_bus import LogBus
from shared.adapters.sqlite.store import SqliteStore
from shared.bootstrap.process import Process, issuer_url, watch_clock
from shared.core.clock import ManualClock, SystemClock
from shared.core.settings import InvalidSettings, Settings
from shared.ports.documents import Commit, Unavailable
from shared.ports.lifecycle import Closed
from shared.records.catalogue import COLLECTIONS
from shared.records.system_accounts import SYSTEM_ACCOUNTS, system_accounts
from tests.realm import serving_realm
from tests.waiting import PATIENCE_SECONDS

ACCOUNTS: Final = [dict(account) for account in system_accounts("ten_1", "BRL", "2026-01-01T00:00:00.000000Z")]
DRIVERS = "aiokafka cassandra cryptography httpx hvac jwt motor redis sqlite3 yaml yggdrasil_engine".split()


@pytest.mark.parametrize("port", ["documents", "ledger", "cache", "bus", "secrets", "flags"])
def test_a_server_without_an_adapter_is_named(tmp_path: Path, port: str) -> None:
    """A setting with a server for which there is no adapter is refused with its name and without its password."""
    url = "scheme://user:password@host/x"
    settings = Settings.from_environment({"LASTRO_DATA_DIR": str(tmp_path), f"LASTRO_{port.upper()}": url})
    with pytest.raises(ValueError, match=f"LASTRO_{port.upper()} .*'scheme'") as refused:
        Process(settings)
    assert "password" not in str(refused.value)


@pytest.mark.parametrize("url", ["user:password@host", "password", "//password@host/x"])
def test_a_url_without_a_scheme_is_not_shown(url: str) -> None:
    """A setting that is not a URL is refused without its text, which may be a password."""
    with pytest.raises(InvalidSettings, match="LASTRO_DOCUMENTS is not a URL") as refused:
        Process(Settings(documents=url))
    assert "password" not in str(refused.value)


def test_nothing_is_opened_or_imported_before_first_use(tmp_path: Path) -> None:
    """A loaded function has imported no driver and created nothing in its data directory before its first call."""
    code = (
        "import sys\n"
        "from shared.bootstrap.process import Process\n"
        "from shared.core.settings import Settings\n"
        f"process = Process(Settings(data_dir={str(tmp_path / 'data')!r}))\n"
        "process.runtime(process.lazy_ports())\n"
        f"print([name for name in {DRIVERS} if name in sys.modules])\n"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert not (tmp_path / "data").exists()


async def test_the_first_token_reads_the_keys_of_the_realm(tmp_path: Path) -> None:
    """A function that runs alone reads the keys of LASTRO_IDENTITY with its first token, and /readyz says when they
    cannot be read."""
    clock = ManualClock()
    async with serving_realm(clock) as realm:
        settings = Settings(data_dir=str(tmp_path), identity=realm.url)
        async with Process(settings, clock) as process:
            verifier = process.runtime(process.lazy_ports()).verifier
            assert realm.reads == 0
            assert (await verifier.verify(realm.token("acme"))).tenant_id == "acme"
            assert realm.reads == 1
            await _until_trouble(process, "")
        realm.away = True
        async with Process(settings, clock) as process:
            process.runtime(process.lazy_ports())
            await _until_trouble(process, "LASTRO_IDENTITY cannot be used")


async def _until_trouble(process: Process, reason: str) -> None:
    """Wait until a process has this trouble, or none. On a slow machine it may say first that it is being opened."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await process.trouble() or ""
            if reason in found and bool(reason) == bool(found):
                return
            assert "still being opened" in found


async def test_only_the_ports_of_a_function_decide_whether_it_is_ready(tmp_path: Path) -> None:
    """With LASTRO_READY_PORTS, a realm that is away does not matter to a function that does not use it."""
    clock = ManualClock()
    async with serving_realm(clock) as realm:
        realm.away = True
        settings = Settings(data_dir=str(tmp_path), identity=realm.url, ready_ports="documents, cache")
        async with Process(settings, clock) as process:
            process.runtime(process.lazy_ports())
            await _until_trouble(process, "")
        async with Process(settings._replace(ready_ports="identity"), clock) as process:
            process.runtime(process.lazy_ports())
            await _until_trouble(process, "LASTRO_IDENTITY cannot be used")
    with pytest.raises(InvalidSettings, match="LASTRO_READY_PORTS names disks; the ports are secrets, flags,"):
        Process(settings._replace(ready_ports="disks,cache"))


async def test_the_first_use_opens_the_store_once(tmp_path: Path) -> None:
    """Concurrent first calls open one store, and its commits are on disk after the process has ended."""
    async with Process(Settings(data_dir=str(tmp_path / "data"))) as process:
        runtime = process.runtime(process.lazy_ports())
        await runtime.documents.durable()
        assert not (tmp_path / "data").exists()
        commits = [Commit("ten_1", inserts=[(SYSTEM_ACCOUNTS, account)]) for account in ACCOUNTS]
        await asyncio.gather(*(runtime.documents.commit(commit) for commit in commits))
        assert await runtime.cache.lock("k", 5) is not None
        await runtime.documents.durable()
    with pytest.raises(Closed):
        await runtime.documents.durable()
    async with SqliteStore(
        tmp_path / "data", collections=COLLECTIONS, settings=Settings(), clock=SystemClock()
    ) as store:
        assert await store.documents.get(SYSTEM_ACCOUNTS, "ten_1", "sys_fees_brl") is not None


async def test_a_directory_in_use_makes_the_ports_unavailable(tmp_path: Path) -> None:
    """While another process uses the directory, a function's ports raise Unavailable; afterwards they work."""
    settings = Settings(data_dir=str(tmp_path / "data"), data_lock_seconds=0.05)
    async with Process(settings) as process:
        documents = process.lazy_ports().documents
        async with SqliteStore(tmp_path / "data", collections=COLLECTIONS, settings=settings, clock=SystemClock()):
            with pytest.raises(Unavailable, match="in use"):
                await documents.get(SYSTEM_ACCOUNTS, "ten_1", "sys_fees_brl")
            trouble = await process.trouble()
            assert trouble is not None
            assert "in use" in trouble
        assert await documents.get(SYSTEM_ACCOUNTS, "ten_1", "sys_fees_brl") is None
        assert await process.trouble() is None


async def test_the_log_is_the_outbox(tmp_path: Path) -> None:
    """Publishing does nothing: a committed event is in the log already."""
    bus = LogBus()
    await bus.publish([])
    assert bus.reads_the_outbox


async def test_tokens_are_verified_by_the_platforms_own_keys(tmp_path: Path) -> None:
    """The public keys of the stored pairs are found by their ids, also after a rotation."""
    from embedded.identity.issuer import KeyRing

    process = Process(Settings(data_dir=str(tmp_path / "data")))
    runtime = process.runtime(process.lazy_ports())
    keys = StoredKeys(runtime.secrets)
    assert await keys.key("nobody") is None
    ring = await KeyRing.load(runtime.secrets)
    for _ in range(2):
        assert await keys.key(ring.active.kid) is not None
        assert public_jwk(ring.active.to_pem()) == ring.active.jwk
        await ring.rotate()
    assert await keys.key("nobody") is None
    stored = await runtime.secrets.get(SECRET_NAME)
    assert stored is not None
    assert set(orjson.loads(stored)) == {"active", "previous"}


async def test_the_first_tokens_are_verified_at_once(tmp_path: Path) -> None:
    """Several first requests at once find the key that is read for the first of them."""
    from embedded.identity.issuer import KeyRing

    process = Process(Settings(data_dir=str(tmp_path / "data")))
    runtime = process.runtime(process.lazy_ports())
    ring = await KeyRing.load(runtime.secrets)

    class Slow:
        """Secrets whose every answer takes a turn of the event loop."""

        async def get(self, name: str) -> bytes | None:
            await asyncio.sleep(0)
            return await runtime.secrets.get(name)

    keys = StoredKeys(cast("Any", Slow()))
    found = await asyncio.gather(*(keys.key(ring.active.kid) for _ in range(3)))
    assert all(key is not None for key in found)


def test_the_issuer_is_the_configured_realm() -> None:
    """The issuer is the configured realm, or else the platform's base URL."""
    assert issuer_url(Settings(identity="https://id.example/realms/x")) == "https://id.example/realms/x"
    assert issuer_url(Settings(base_url="http://h:1/")) == "http://h:1/realms/lastro"


async def test_a_jump_of_the_clock_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """After the clock was set back an hour and forwards again, the log has two warnings, each with direction and
    size."""
    clock = ManualClock()
    watching = asyncio.create_task(watch_clock(clock, 0.001))
    await asyncio.sleep(0)
    for count, hours in enumerate((-1, 1), 1):
        clock.jump(timedelta(hours=hours))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(caplog.records) < count:  # noqa: ASYNC110 - a log has no event for it
                await asyncio.sleep(0.001)
    clock.advance(timedelta(hours=5))
    await asyncio.sleep(0.05)
    watching.cancel()
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "the machine's clock was set back by 3600.0 s",
        "the machine's clock was set forwards by 3600.0 s",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


async def test_a_process_watches_the_clock_until_it_is_closed(tmp_path: Path) -> None:
    """A process ends its tasks when it is closed."""
    before = asyncio.all_tasks()
    async with Process(Settings(data_dir=str(tmp_path))):
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before
