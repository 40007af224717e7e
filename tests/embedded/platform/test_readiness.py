"""/readyz gives the reason when the platform cannot serve, and reports when it can serve again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.sqlite.schema import DATABASE
from shared.adapters.sqlite.writer import CANNOT_WRITE, BatchRunner
from tests.contract.calling import Deployment, brl, new_pair, running
from tests.waiting import PATIENCE_SECONDS

TENANT = {"name": "Made"}
FULL = f"{CANNOT_WRITE}database or disk is full"


async def readiness(deployment: Deployment) -> tuple[int, str]:
    """Return the status and the reason of /readyz."""
    answer = await deployment.wire.send("GET", "/readyz")
    return answer.status, answer.document.get("detail", "")


async def until_ready(deployment: Deployment) -> None:
    """Wait until the platform is ready."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await readiness(deployment))[0] != 200:  # noqa: ASYNC110 - the platform has no event for it
            await asyncio.sleep(0.02)


async def test_a_full_disk_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the disk is full, every request is answered with 503 and /readyz has the reason; afterwards the platform
    serves again without a restart, has lost nothing, and has logged each change once."""
    original, full = BatchRunner.run, True
    monkeypatch.setattr(
        BatchRunner, "run", lambda self, statements, size: FULL if full else original(self, statements, size)
    )
    full = False
    async with running(tmp_path) as deployment:
        operator = await deployment.operator()
        kept = await operator.made("/v1/tenants", TENANT)
        full = True
        assert (await operator.post("/v1/tenants", TENANT)).status == 503
        for _ in range(100):
            assert (await operator.post("/v1/tenants", TENANT)).status == 503
            assert await readiness(deployment) == (503, "The store cannot write: database or disk is full.")
        full = False
        await until_ready(deployment)
        assert (await operator.read(f"/v1/tenants/{kept['id']}"))["id"] == kept["id"]
        await operator.made("/v1/tenants", TENANT)
    dropped = [record for record in caplog.records if "memory is dropped" in record.message]
    assert len(dropped) == 1
    assert [record.message for record in caplog.records].count("the store can write again") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(ballast: Path) -> None:
    """Write to a file until the disk is full."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
    assert shutil.disk_usage(ballast).free < 65536


async def test_a_full_file_system(small_disk: Path) -> None:
    """On a file system that another file fills up, requests are refused and /readyz has the reason; with free space the
    platform serves again."""
    async with running(small_disk / "data", writer="process") as deployment:
        operator = await deployment.operator()
        ballast = small_disk / "ballast"
        fill(ballast)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await operator.post("/v1/tenants", TENANT)).status == 201:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
        status, reason = await readiness(deployment)
        assert (status, reason[:23]) == (503, "The store cannot write:")
        ballast.unlink()
        await until_ready(deployment)
        await operator.made("/v1/tenants", TENANT)


async def test_a_damaged_database(tmp_path: Path) -> None:
    """A document on a damaged page is answered with 503, /readyz names the file and the remedy, and both work again
    when the file is repaired."""
    async with running(tmp_path, document_cache_entries=1) as deployment:
        operator = await deployment.operator()
        made = [(await operator.made("/v1/tenants", {"name": "x" * 100}))["id"] for _ in range(100)]
    database = tmp_path / DATABASE
    whole = database.read_bytes()
    async with running(tmp_path, document_cache_entries=1) as deployment:
        operator = await deployment.operator()
        # The first pages hold the schema and the rows that the start has read; all other pages are damaged.
        pages = whole[: 4 * 4096] + b"\xff" * (len(whole) - 4 * 4096)
        statuses = set()
        database.write_bytes(pages)
        for id in made:
            statuses.add((await operator.get(f"/v1/tenants/{id}")).status)
        assert 503 in statuses
        assert 500 not in statuses
        status, reason = await readiness(deployment)
        assert status == 503
        assert f"{database} is damaged" in reason
        assert "backup" in reason
        database.write_bytes(whole)
        await until_ready(deployment)
        assert (await operator.get(f"/v1/tenants/{made[0]}")).status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="finds the writer's process in /proc")
async def test_a_writer_that_does_not_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the writer is gone and a new one does not start, /readyz has the reason; the platform serves again when one
    starts."""
    async with running(tmp_path, writer="process") as deployment:
        operator = await deployment.operator()
        writer = deployment.platform.store._journal._writer
        executable = sys.executable
        monkeypatch.setattr(sys, "executable", "/bin/false")
        os.kill(writer.pid, signal.SIGKILL)  # type: ignore[attr-defined]  # it is a process
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "a new one does not start" not in (await readiness(deployment))[1]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        assert (await operator.post("/v1/tenants", TENANT)).status == 503
        monkeypatch.setattr(sys, "executable", executable)
        await until_ready(deployment)
        await operator.made("/v1/tenants", TENANT)
    assert json.loads((tmp_path / "credentials.json").read_text())["demo"]["tenant_id"] == "demo"


async def test_a_writer_that_does_not_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the writer process is stopped, a request is answered with 503 within the bound, further ones at once, and
    /readyz and one log line have the reason; when it continues, the same key gets the response of its only effect."""
    async with running(tmp_path, writer="process") as deployment:
        pair = await new_pair(await deployment.tenant())
        journal = deployment.platform.store._journal
        writer = journal._writer
        payment, other = pair.payment(amount=brl(700)), pair.payment(amount=brl(11))
        journal.bound_waits(0.2)
        os.kill(writer.pid, signal.SIGSTOP)  # type: ignore[attr-defined]  # it is a process
        try:
            first = await pair.client.post("/v1/payments", payment, key="late")
            status, reason = await readiness(deployment)
            refused = [await pair.client.post("/v1/payments", other, key="refused") for _ in range(3)]
        finally:
            journal.bound_waits(PATIENCE_SECONDS)
            os.kill(writer.pid, signal.SIGCONT)  # type: ignore[attr-defined]  # as above
        assert (first.status, first.document["code"]) == (503, "dependency_unavailable")
        assert "with the same Idempotency-Key" in first.document["detail"]
        assert status == 503
        assert reason.startswith("The store's writer has not written a batch within 0.2 s (LASTRO_STORE_SECONDS)")
        assert [answer.status for answer in refused] == [503, 503, 503]
        await until_ready(deployment)
        again = await pair.client.post("/v1/payments", payment, key="late")
        assert (again.status, again.header("idempotent-replayed")) == (201, "true")
        assert (await pair.client.post("/v1/payments", other, key="refused")).status == 201
        assert (await pair.paid(amount=brl(5)))["status"] == "settled"
        assert await deployment.platform.broker.idle(PATIENCE_SECONDS)
        balance = await pair.client.read(f"/v1/accounts/{pair.payee}/balance")
        assert (balance["posted"], balance["held"]) == (716, 0)
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert ["has not written a batch" in error for error in errors] == [True]
    assert sum("answers again" in record.message for record in caplog.records) == 1
    assert deployment.platform.store.generation == 0
