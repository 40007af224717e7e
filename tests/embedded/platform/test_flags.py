"""Flags of a running platform."""

from __future__ import annotations

from pathlib import Path

from tests.contract.calling import new_pair, running


async def test_a_method_is_stopped_and_started_while_the_platform_runs(tmp_path: Path) -> None:
    """A running platform obeys a changed file of flags: it refuses a stopped method and accepts it again later."""
    async with running(tmp_path, flags_refresh_seconds=0.0) as deployment:
        pair = await new_pair(await deployment.tenant())
        assert (await pair.paid())["status"] == "settled"
        (tmp_path / "flags.yaml").write_text(f"stop-method-internal: [{pair.client.tenant_id}]\n")
        refused = await pair.client.post("/v1/payments", pair.payment(), key="k")
        assert (refused.status, refused.code, refused.header("retry-after")) == (503, "dependency_unavailable", "60")
        (tmp_path / "flags.yaml").write_text("stop-method-internal: false\n")
        assert (await pair.client.post("/v1/payments", pair.payment(), key="k")).status == 201
