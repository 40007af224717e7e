"""The flags on a real Unleash: what an operator switches there, and what holds while it is away."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.unleash.address import read_address
from shared.adapters.unleash.setup import set_up
from shared.core.flags import FLAGS, STOP_METHOD
from shared.ports.documents import Unavailable
from tests.contract.calling import Pair, new_pair, running
from tests.harness import ROOT
from tests.servers.processes import Processes
from tests.servers.unleash_server import ADMIN_TOKEN, UnleashServer
from tests.shared.adapters.unleash.administrator import Administrator
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.real

INTERNAL = STOP_METHOD["internal"]
REFRESH: dict[str, Any] = {"flags_refresh_seconds": 0.2}
DEFINITION = json.loads((ROOT / "knative/platform/unleash/flags.json").read_text(encoding="utf-8"))["data"]


def installed(url: str) -> list[str]:
    """Create what is missing, and return the steps."""
    steps: list[str] = []
    assert set_up(read_address(url), ADMIN_TOKEN, DEFINITION, steps.append) == len(steps)
    return steps


async def answered(pair: Pair, status: int) -> None:
    """Send payments until one is answered with this status; before, they are answered with the other one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := await pair.client.post("/v1/payments", pair.payment())).status != status:
        assert answer.status == (201 if status == 503 else 503)
        assert time.monotonic() < deadline, f"no payment was answered with {status}"
        await asyncio.sleep(0.05)


async def test_flags_are_created_once_and_then_belong_to_the_operator(unleash_url: str) -> None:
    """A setup creates the context field and all flags; a second one changes nothing, also not a flag that an operator
    has switched."""
    installed(unleash_url)
    assert installed(unleash_url) == []
    with Administrator(unleash_url) as administrator:
        for flag in FLAGS.values():
            assert administrator.is_on(flag) is flag.default
        administrator.switch(INTERNAL, ["somebody-else"])
        assert installed(unleash_url) == []
        assert administrator.is_on(INTERNAL)
        administrator.switch(INTERNAL, on=False)


async def test_a_refused_setup_says_why(unleash_url: str) -> None:
    """A token that may not create flags is refused with Unleash's reason and without the token."""
    with pytest.raises(Unavailable, match="answered 401") as raised:
        set_up(read_address(unleash_url), "*:*.hidden", DEFINITION, lambda _: None)
    assert "hidden" not in str(raised.value)


async def test_a_running_platform_obeys_what_an_operator_switches(unleash_url: str, tmp_path: Path) -> None:
    """A flag that is switched on for the tenant in Unleash stops its payments within the interval, and one that is
    switched off lets them pass again; a flag for another tenant changes nothing."""
    installed(unleash_url)
    async with running(tmp_path, flags=unleash_url, **REFRESH) as deployment:
        pair = await new_pair(await deployment.tenant())
        with Administrator(unleash_url) as administrator:
            assert (await pair.paid())["status"] == "settled"
            for switched, status in ((["globex"], 201), ([pair.client.tenant_id], 503), (False, 201), (True, 503)):
                administrator.switch(INTERNAL, switched)
                await answered(pair, status)
            administrator.switch(INTERNAL, on=False)
            await answered(pair, 201)


async def test_the_last_state_holds_while_unleash_is_away(
    processes: Processes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After SIGKILL to Unleash a stopped method stays stopped, also in a platform that starts meanwhile; without the
    copy on disk it starts with the defaults; each obeys Unleash again when it is back."""
    caplog.set_level(logging.INFO, "shared.adapters.unleash")
    server = UnleashServer()
    server.install()
    url = server.start(processes)
    installed(url)
    data = tmp_path / "data"

    async def is_logged(text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in caplog.text:
            assert time.monotonic() < deadline, f"the log does not say: {text}"
            await asyncio.sleep(0.05)

    with Administrator(url) as administrator:
        administrator.switch(INTERNAL, on=True)
        async with running(data, flags=url, **REFRESH) as deployment:
            pair = await new_pair(await deployment.tenant())
            await answered(pair, 503)
            processes.kill("unleash")
            await is_logged("The flags stay as they were read at")
            await answered(pair, 503)
        caplog.clear()
        async with running(data, flags=url, **REFRESH) as deployment:
            assert "The flags stay as they were read at" in caplog.text
            pair = Pair(await deployment.tenant(), pair.payer, pair.payee)
            assert (await pair.client.post("/v1/payments", pair.payment())).status == 503
        (data / "unleash.json").unlink()
        caplog.clear()
        async with running(data, flags=url, **REFRESH) as deployment:
            assert "The flags have their defaults" in caplog.text
            pair = Pair(await deployment.tenant(), pair.payer, pair.payee)
            assert (await pair.paid())["status"] == "settled"
            processes.start_again("unleash")
            await is_logged("answers again")
            await answered(pair, 503)
