"""The simulators of a platform that was started on another port than before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embedded.simulators.addresses import FILE, MAX_ADDRESSES, OwnAddresses
from tests.contract.calling import Deployment, brl, in_status, new_account, running, still_clock

BEFORE, AFTER = "http://127.0.0.1:9", "http://127.0.0.1:10"


@pytest.mark.parametrize(
    ("rail", "order"),
    [("pix", {"payments": "sent"}), ("bank_transfer", {}), ("card", {"action": "capture"})],
)
async def test_a_late_report_reaches_the_platform_on_its_new_port(
    tmp_path: Path, rail: str, order: dict[str, Any]
) -> None:
    """A payment that a simulator reports after a restart of the platform on another port is settled by that report."""
    clock = still_clock()  # no schedule asks the provider
    async with running(tmp_path, clock, base_url=BEFORE) as deployment:
        tenant = await deployment.tenant()
        account = await new_account(tenant)
        await _order_fault(deployment, rail, {"fault": "late", "seconds": 3600, **order})
        payment = await tenant.made("/v1/payments", _payment(rail, account))
        await in_status(tenant, f"/v1/payments/{payment['id']}", "processing")
    _end_the_delay(tmp_path)
    async with running(tmp_path, clock, base_url=AFTER) as deployment:
        await in_status(await deployment.tenant(), f"/v1/payments/{payment['id']}", "settled")


async def test_a_charge_of_an_earlier_port_is_paid_by_its_code(tmp_path: Path) -> None:
    """The BR Code of a charge that was made before the platform's start on another port is read and paid by a payment
    out."""
    async with running(tmp_path, base_url=BEFORE) as deployment:
        tenant = await deployment.tenant()
        payer, payee = await new_account(tenant), await new_account(tenant)
        charge = await tenant.made("/v1/pix/charges", {"account_id": payee, "amount": brl(700)})
    async with running(tmp_path, base_url=AFTER) as deployment:
        tenant = await deployment.tenant()
        body = {"amount": brl(700), "method": "pix", "payer_account_id": payer, "pix": {"br_code": charge["br_code"]}}
        payment = await tenant.made("/v1/payments", body)
        await in_status(tenant, f"/v1/payments/{payment['id']}", "settled")
        await in_status(tenant, f"/v1/pix/charges/{charge['txid']}", "paid")


def test_addresses_are_kept_in_the_data_directory(tmp_path: Path) -> None:
    """Each address of the platform is in the file once, the newest last, and only the newest hundred are kept."""
    file = tmp_path / FILE
    for port in (*range(1, MAX_ADDRESSES + 2), 5):
        OwnAddresses(file, f"http://127.0.0.1:{port}/")
    kept = file.read_text().split()
    assert (len(kept), kept[0], kept[-2:]) == (
        MAX_ADDRESSES,
        "http://127.0.0.1:2",
        [f"http://127.0.0.1:{MAX_ADDRESSES + 1}", "http://127.0.0.1:5"],
    )
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (f"{AFTER}/v1/x", "/v1/x"),
        (f"{BEFORE}/v1/x", "/v1/x"),
        (f"{AFTER}0/v1/x", None),
        (AFTER, None),
        ("https://127.0.0.1:10/v1/x", None),
    ],
)
def test_which_urls_are_of_this_platform(tmp_path: Path, url: str, path: str | None) -> None:
    """A URL is of this platform under its present address and its earlier ones, with a path, and under no other."""
    OwnAddresses(tmp_path / FILE, BEFORE)
    assert OwnAddresses(tmp_path / FILE, AFTER).path_of(url) == path


async def _order_fault(deployment: Deployment, rail: str, order: dict[str, Any]) -> None:
    headers, body = [("content-type", "application/json")], json.dumps(order).encode()
    assert (await deployment.wire.send("POST", f"/simulators/{rail}/faults", headers, body)).status == 202


def _payment(rail: str, account: str) -> dict[str, Any]:
    if rail == "card":
        return {"amount": brl(500), "method": rail, "payee_account_id": account, "card": {"token": "tok_approve"}}
    if rail == "pix":
        receiver: dict[str, Any] = {"pix": {"key": "maria@example.com"}}
    else:
        holder = {"name": "Maria Silva", "document": {"type": "cpf", "number": "52998224725"}}
        number = {"bank": "341", "branch": "0001", "number": "12345-6", "type": "checking", "holder": holder}
        receiver = {"bank_account": number}
    return {"amount": brl(500), "method": rail, "payer_account_id": account, **receiver}


def _end_the_delay(folder: Path) -> None:
    """Write into the journals that a late report is sent at once: the test does not wait an hour."""
    for journal in folder.glob("*-simulator.jsonl"):
        journal.write_text(journal.read_text().replace('"seconds":3600.0', '"seconds":0.0'))
