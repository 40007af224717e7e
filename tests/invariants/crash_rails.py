"""A story over the three rails for the crash points, and the books of the simulated providers after it.

The simulators are in the platform's own process and die with it. What each has done is in its journal.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from embedded.simulators.journal import KEYS
from embedded.simulators.rails import BANK_JOURNAL_FILE, CARD_JOURNAL_FILE, JOURNAL_FILE
from shared.adapters.pix.formats import parse_amount
from tests.invariants.bodies import brl, over_rail
from tests.invariants.crash_story import Story, eventually


def records(data_dir: Path, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the last record of each key in a simulator's journal."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    path = data_dir / file
    for line in path.read_bytes().splitlines() if path.exists() else ():
        kind, record = json.loads(line)
        found[kind, str(record.get(KEYS.get(kind, "id")))] = record
    for (kind, _), record in found.items():
        yield kind, record


def clearing(data_dir: Path) -> dict[str, int]:
    """Return the balance, credits less debits, that each clearing account must have by its provider's books."""
    pix = 0
    for kind, record in records(data_dir, JOURNAL_FILE):
        if kind == "payment":
            pix -= parse_amount(record["original"])
        elif kind == "sent" and record["status"] == "REALIZADO":
            pix += parse_amount(record["moved"])
        elif kind == "return" and record["outcome"] == "DEVOLVIDO":
            pix += parse_amount(record["original"])
    bank = sum(record["amount"] for _, record in records(data_dir, BANK_JOURNAL_FILE) if record["status"] == "SETTLED")
    card = -sum(record["amount"] for kind, record in records(data_dir, CARD_JOURNAL_FILE) if kind == "card_line")
    return {"sys_clearing_pix_brl": pix, "sys_clearing_bank_transfer_brl": bank, "sys_clearing_card_brl": card}


class RailsStory(Story):
    """Payments over each rail that are made, refused and canceled; a transfer that comes back, a refund to a card, the
    return of a received payment, and reports of fraud."""

    turnover = 1000 + 200 + 150 + 60 + 60 + 300 + 100 + 100 + 50
    account = merchant = ""
    accepted: str | None = None
    """The report of fraud that is accepted. Any other one, of a repeated order, is rejected."""

    async def commands(self) -> None:
        """See `Story.send_commands`."""
        self.account, self.merchant = await self.open_accounts("account", "merchant")
        await self.fund(self.account)
        await asyncio.gather(
            self._pay("pix", "pix", 200, "settled", wait=5),
            self._pay("pix_unknown", "pix", 10, "failed", is_known=False),
            self._pay("bank", "bank_transfer", 150, "settled", wait=5),
            self._pay("bank_back", "bank_transfer", 60, "settled"),
            self._pay("bank_unknown", "bank_transfer", 10, "failed", is_known=False),
            self._pay("card", "card", 300, "settled", wait=5),
            self._pay("card_declined", "card", 40, "declined", is_known=False),
            self._pay("card_fails", "card", 30, "failed", token="tok_capture_fails"),
            self._pay("card_canceled", "card", 50, "authorized", "canceled", capture="manual"),
            self._publish_bad_event(),
        )
        await self._send("cancel", f"/v1/payments/{self.ids['card_canceled']}/cancel", {})
        await asyncio.gather(self._refund(), self._come_back(), self._return())
        await self._report_fraud()

    async def _pay(
        self, what: str, method: str, amount: int, *statuses: str, wait: int = 0, capture: str = "automatic", **how: Any
    ) -> None:
        account = self.merchant if method == "card" else self.account
        body = {**over_rail(method, account, amount, **how), "capture": capture}
        await self._id(what, "/v1/payments", body, wait=wait)
        await self._becomes("/v1/payments", what, *statuses)

    async def _refund(self) -> None:
        """Refund a part of the card payment."""
        path = f"/v1/payments/{self.ids['card']}/refunds"
        await self._id("refund", path, {"amount": brl(100)}, wait=5)
        await self._becomes("/v1/refunds", "refund", "settled")

    async def _come_back(self) -> None:
        """The receiving bank sends the money of a transfer back. It does that once, however often it is ordered."""
        payment = await self.lane.client.get(f"/v1/payments/{self.ids['bank_back']}")
        order = {"reference": payment["bank_account"]["end_to_end_id"]}
        assert (await self.lane.client.simulate("bank_transfer/returns", order)).status_code in (202, 409)
        path = f"/v1/payments/{self.ids['bank_back']}"
        await eventually(lambda: self.lane.client.get(path), lambda found: found["amount_refunded"] == brl(60))

    async def _return(self) -> None:
        """Return a part of the received payment."""
        await self._id("return", f"/v1/deposits/{self.ids['deposit']}/returns", {"amount": brl(100)}, wait=5)
        await self._becomes("/v1/returns", "return", "settled")

    async def _report_fraud(self) -> None:
        """The payer's bank reports a part of the received payment as a fraud, which is accepted.

        A report is made again when its answer was lost with the platform: there may be several, and one is accepted.
        """
        returned = await self.lane.client.get(f"/v1/returns/{self.ids['return']}")
        payments = [
            record["key"].partition("/")[0]
            for kind, record in records(self.lane.data_dir, JOURNAL_FILE)
            if kind == "return" and record["rtr_id"] == returned["rail_id"]
        ]
        assert len(payments) == 1, "the provider has made the return once"
        if not await self._reports():
            order = {"endToEndId": payments[0], "valor": "0.50"}
            assert (await self.lane.client.simulate("pix/frauds", order)).status_code == 202
        reports = await eventually(
            self._reports, lambda found: found and all(one["amount_held"] is not None for one in found)
        )
        self.accepted = self.accepted or reports[0]["id"]
        await self._send("accept", f"/v1/pix/fraud-reports/{self.accepted}/accept", {})
        await self.reject_others()
        path = f"/v1/accounts/{self.account}/balance"
        await eventually(lambda: self.lane.client.get(path), lambda found: (found["posted"], found["held"]) == (500, 0))

    async def _reports(self) -> list[Any]:
        found = await self.lane.client.get(f"/v1/pix/fraud-reports?account={self.account}&limit=100")
        return list(found["data"])

    async def reject_others(self) -> None:
        """Reject every report of fraud but the one that was accepted."""
        for report in await self._reports():
            if report["id"] != self.accepted:
                await self._send(f"reject-{report['id']}", f"/v1/pix/fraud-reports/{report['id']}/reject", REASON)

    async def check(self) -> None:
        """Check both accounts by balance, statement and ledger, and that nothing exists twice."""
        await self.reject_others()
        await self._check_account(self.account, 500, [1000, 200, 150, 60, 60, 100, 50])
        await self._check_account(self.merchant, 200, [300, 100])
        client = self.lane.client
        for account, names in (
            (self.account, ("pix", "pix_unknown", "bank", "bank_back", "bank_unknown")),
            (self.merchant, ("card", "card_declined", "card_fails", "card_canceled")),
        ):
            payments = (await client.get(f"/v1/payments?account={account}&limit=100"))["data"]
            assert {payment["id"] for payment in payments} == {self.ids[name] for name in names}
        await self._check_gateway()

    async def _check_gateway(self) -> None:
        """Check that no card has an amount reserved that is not captured."""

        async def reserved() -> list[str]:
            own = {self.ids[name] for name in ("card", "card_declined", "card_fails", "card_canceled")}
            return [
                record["reference"]
                for kind, record in records(self.lane.data_dir, CARD_JOURNAL_FILE)
                if kind == "card_payment"
                and record["reference"] in own
                and (record["status"], record["capture"]) == ("authorized", None)
            ]

        await eventually(reserved, lambda found: found == [])


REASON: Final = {"reason": "reported twice"}
