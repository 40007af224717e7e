"""Messages to users on the whole platform: real adapters send them to the simulated gateways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embedded.simulators.deliveries import FILE
from shared.ports.notifier import CHANNELS
from tests.contract.calling import eventually, new_pair, running


async def test_a_payment_is_told_by_every_channel(tmp_path: Path) -> None:
    """The payer of a payment gets one e-mail, SMS and push notification through the adapters' protocols; a request with
    a platform token shows them, and no other request does. A device that is gone is removed."""
    async with running(tmp_path) as deployment:
        tenant, operator = await deployment.new_tenant(), await deployment.operator()
        pair = await new_pair(tenant)
        account = await tenant.read(f"/v1/accounts/{pair.payer}")
        user = f"/v1/users/{account['owner_id']}"
        await tenant.send("PATCH", user, {"phone": "+5511987654321"})
        wanted: dict[str, Any] = {"channels": list(CHANNELS), "push_token": "device-1", "locale": "en"}
        answer = await tenant.send("PATCH", f"{user}/notification-preferences", wanted)
        assert answer.status == 200, answer.body
        payment = await tenant.made("/v1/payments", pair.payment(), also=(("prefer", "wait=10"),))
        assert payment["status"] == "settled"
        shown = {}
        for channel in CHANNELS:
            path = f"/simulators/{channel}/messages"
            page = await eventually(operator, path, lambda page: bool(page["messages"]))
            (shown[channel],) = page["messages"]
            assert (await tenant.send("GET", path)).status == 403
            assert (await deployment.wire.send("GET", path)).status == 401
            assert (await deployment.wire.send("POST", f"/simulators/{channel}/faults", {})).status == 401
        assert shown["sms"]["to"] == "+5511987654321"
        assert shown["push"]["title"] == "Payment made"
        assert payment["id"] in shown["email"]["text"]
        lines = [json.loads(line) for line in (tmp_path / FILE).read_text("utf-8").splitlines()]
        assert sorted(line["channel"] for line in lines) == sorted(CHANNELS)
        await operator.send("POST", "/simulators/push/faults", {"fault": "unregistered", "to": "device-1"})
        await tenant.made("/v1/payments", pair.payment())
        preferences = f"{user}/notification-preferences"
        left = await eventually(tenant, preferences, lambda found: not found["has_push_token"])
        assert left["channels"] == ["email", "sms"]


async def test_nothing_is_made_before_the_first_message(tmp_path: Path) -> None:
    """A platform without messages has neither a mail server nor a key for push notifications."""
    async with running(tmp_path):
        assert not (tmp_path / "push-simulator.json").exists()
        assert not (tmp_path / FILE).exists()
