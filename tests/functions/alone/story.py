"""A data directory with documents in many statuses, so that each function can process a request or event on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.identity.issuer import Client, Issuer, KeyRing
from events.charges import ChargePaid
from events.sweeps import HoldExpired
from shared.adapters.files.keyfile import KeyFileSecrets
from shared.bootstrap.process import issuer_url
from shared.core.clock import SystemClock, format_time
from shared.core.envelope import Envelope
from shared.core.settings import Settings
from shared.http.signing import canonical_string, sign
from shared.identity.tenancy import PLATFORM_SCOPE, TENANT_SCOPES
from shared.records.system_accounts import clearing_account
from tests.cnab import content
from tests.functions.providers.rail import (
    RecordingRail,
    callback,
    move_to_and_fro,
    pay_out,
    report,
    report_fraud,
    with_payments,
)
from tests.harness import Harness, SigningPair

TENANT = "acme"
CALLBACK_SECRET = b"between the rail and us"
CLEARING = clearing_account("pix", "BRL")


class _NoClients:
    """The issuer of these tokens does not check client credentials."""

    async def client(self, client_id: str) -> Client | None:
        del client_id
        return None

    async def has_person(self, tenant_id: str, user_id: str) -> bool:
        del tenant_id, user_id
        return False


@dataclass(frozen=True)
class Story:
    """The ids of the documents in the data directory, and a caller's token and key."""

    data_dir: Path
    payer: str
    payee: str
    user: str
    settled: str
    """A settled payment. `transfer` is its transfer and `refund` a refund of a part of it that is in progress."""
    transfer: str
    refund: str
    created: str
    """A payment whose funds are not held yet."""
    authorized: str
    capturing: str
    """A payment whose transfer was requested from the ledger."""
    over_rail: str
    """A payment by PIX that the provider has; `end_to_end_id` is its id there."""
    end_to_end_id: str
    deposit: str
    txid: str
    code_txid: str
    received: str
    """A settled deposit. `returning` is a return of a part of it that the provider has in progress, and `returned` one
    whose amount is not held yet."""
    returning: str
    returned: str
    reported: str
    """An open report of fraud, whose amount is held."""
    reconciliation: str
    settlement_file: str
    dead_letter: str
    platform_dead_letter: str
    """The id of a dead letter whose event has no tenant."""
    webhook_endpoint: str
    """An endpoint whose name has no address."""
    webhook_delivery: str
    """A delivery to it that is due."""
    events: dict[str, Envelope]
    """The undelivered event of each type, by type."""
    key: SigningPair
    tenant_token: str
    platform_token: str

    def headers(self, method: str, path: str, body: bytes, *, platform: bool) -> dict[str, str]:
        """Return the headers of a request: the token, and a key and signature where the operation requires them."""
        headers = {"authorization": f"Bearer {self.platform_token if platform else self.tenant_token}"}
        if method == "GET":
            return headers
        headers["idempotency-key"] = "alone-1"
        if body:
            headers["content-type"] = "application/json"
        if not platform:
            now = format_time(SystemClock().now())
            text = canonical_string(method, path, "", body, TENANT, "alone-1", now, self.key.key_id)
            headers |= {"x-timestamp": now, "x-key-id": self.key.key_id, "x-signature": sign(self.key.secret, text)}
        return headers


def create_story(data_dir: Path) -> Story:
    """Make the documents and events on the embedded store."""
    return asyncio.run(_create(data_dir))


async def _create(data_dir: Path) -> Story:
    harness = await Harness.on_disk(data_dir)
    try:
        harness.clock.advance(SystemClock().now() - harness.clock.now())
        return await _happen(harness, data_dir, await _issuer(data_dir))
    finally:
        await harness.close()


async def _issuer(data_dir: Path) -> Issuer:
    return Issuer(issuer_url(Settings()), await KeyRing.load(KeyFileSecrets(data_dir)), _NoClients(), SystemClock())


async def _happen(harness: Harness, data_dir: Path, issuer: Issuer) -> Story:
    await harness.tenant(TENANT)
    user = await harness.user()
    payer = (await harness.account(100_000))["id"]
    payee = (await harness.account())["id"]
    settled = (await harness.pay(payer, payee, 1_000))["id"]
    authorized = (await harness.pay(payer, payee, 2_000, capture="manual"))["id"]
    capturing = (await harness.pay(payer, payee, 3_000, capture="manual"))["id"]
    provider = await with_payments(harness, CALLBACK_SECRET)
    over_rail = (await pay_out(harness, payer, 5_000))["id"]
    await harness.run_events()
    received, returning, reported = await _received(harness, payer)
    # From here on, no event is delivered.
    delivered = len(harness.events)
    refund = await harness.call("POST", f"/v1/payments/{settled}/refunds", {"amount": _reais(100)})
    created = (await harness.pay(payer, payee, 4_000))["id"]
    await harness.call("POST", f"/v1/payments/{capturing}/capture")
    period = {"provider": "pix", "from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    await move_to_and_fro(harness.runtime.ledger, TENANT, format_time(harness.clock.now()))
    reconciliation = await harness.call("POST", "/v1/reconciliations", period)
    file = await harness.call("POST", "/v1/settlement-files", {"content": content()})
    deposit = await harness.call("POST", "/v1/deposits", {"account_id": payer, "amount": _reais(500), "method": "pix"})
    returned = await harness.call("POST", f"/v1/deposits/{received}/returns", {"amount": _reais(30)})
    charge = await harness.call("POST", "/v1/pix/charges", {"account_id": payer, "amount": _reais(600)})
    code = await harness.call("POST", "/v1/pix/static-codes", {"account_id": payer})
    expired = HoldExpired(
        account_id=payer, hold_id="hld_1", payment_id=settled, expires_at=format_time(harness.clock.now())
    )
    undelivered = harness.envelope(expired, knativeerrordest="http://payments-expire.lastro.svc.cluster.local")
    nobodys = Envelope.of({"id": "evt_nobody", "source": "/x", "type": "any"}, b"{}")
    for envelope in (undelivered, nobodys):
        assert (await harness.deliver("operations/park_dead_letter", envelope)).status == 204
    endpoint = await _webhook(harness)
    deliveries = await harness.call("GET", f"/v1/webhook-endpoints/{endpoint}/deliveries")
    letters = await harness.call("GET", "/v1/dead-letters")
    platform_letters = await harness.call("GET", "/v1/platform/dead-letters")
    entries = await harness.call("GET", f"/v1/ledger/accounts/{payee}/entries")
    client = Client("alone", "", TENANT, frozenset(TENANT_SCOPES))
    platform = Client("platform", "", None, frozenset({PLATFORM_SCOPE}))
    return Story(
        data_dir=data_dir,
        payer=payer,
        payee=payee,
        user=user["id"],
        settled=settled,
        transfer=entries.json["data"][0]["transfer_id"],
        refund=refund.json["id"],
        created=created,
        authorized=authorized,
        capturing=capturing,
        over_rail=over_rail,
        end_to_end_id=provider.orders[0].reference,
        deposit=deposit.json["id"],
        txid=charge.json["txid"],
        code_txid=code.json["txid"],
        received=received,
        returning=returning,
        reported=reported,
        returned=returned.json["id"],
        reconciliation=reconciliation.json["id"],
        settlement_file=file.json["id"],
        dead_letter=letters.json["data"][0]["id"],
        platform_dead_letter=platform_letters.json["data"][0]["id"],
        webhook_endpoint=endpoint,
        webhook_delivery=deliveries.json["data"][0]["id"],
        events={envelope.type: envelope for envelope in harness.events[delivered:]},
        key=harness.keys[TENANT],
        tenant_token=issuer.issue(client, client.scopes),
        platform_token=issuer.issue(platform, platform.scopes),
    )


async def _received(harness: Harness, account_id: str) -> tuple[str, str, str]:
    """Receive a payment of a charge, begin to return a part, and have another part reported as a fraud. Return the ids
    of the deposit, of the return and of the report."""
    rail = harness.runtime.rails["pix"] = RecordingRail()
    made = await harness.call("POST", "/v1/pix/charges", {"account_id": account_id, "amount": _reais(600)})
    assert made.status == 201, made.body
    paid = report(rail.orders[0].reference, 600, horario=format_time(harness.clock.now()))
    assert (await callback(harness, paid, secret=CALLBACK_SECRET)).status == 200
    await harness.run_events()
    (fact,) = [one for one in harness.events_of(ChargePaid) if one.amount.value == 600]
    begun = await harness.call("POST", f"/v1/deposits/{fact.deposit_id}/returns", {"amount": _reais(50)})
    await harness.run_events()
    await report_fraud(harness, paid, 40, secret=CALLBACK_SECRET)
    await harness.run_events()
    reports = await harness.call("GET", "/v1/pix/fraud-reports")
    return fact.deposit_id, begun.json["id"], reports.json["data"][0]["id"]


async def _webhook(harness: Harness) -> str:
    """Create a webhook endpoint and a delivery to it, and return the endpoint's id."""
    body = {"url": "https://hooks.invalid/lastro", "events": ["lastro.account.*"]}
    made = await harness.call("POST", "/v1/webhook-endpoints", body)
    opened = next(envelope for envelope in harness.events if envelope.type == "lastro.account.opened.v1")
    assert (await harness.deliver("webhooks/dispatch", opened)).status == 204
    return str(made.json["id"])


def _reais(value: int) -> dict[str, Any]:
    return {"value": value, "currency": "BRL"}
