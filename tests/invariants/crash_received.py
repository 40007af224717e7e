"""A story of what is received by PIX for the crash points: charges, a charge with a due date, a static code, returns,
and the work of an operator: movements matched by hand, and dead letters replayed by a filter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from embedded.simulators.rails import JOURNAL_FILE
from shared.adapters.pix.br_code import parse_br_code
from tests.cnab import content, payment
from tests.invariants.bodies import DEBTOR, brl
from tests.invariants.crash_rails import records
from tests.invariants.crash_story import Lane, Story, eventually

EVER: Final = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
BAD_CONSUMER: Final = "accounts-hold-funds"
"""The consumer that cannot process the bad event of a story."""


class ReceivedStory(Story):
    """Charges and a static code that strangers pay, returns of the money in parts and whole, movements that an operator
    matches, and a replay of the story's dead letter, which fails again."""

    turnover = 1000 + 300 + 195 + 100 + 50 + 100 + 50 + 300
    account = ""

    def __init__(self, lane: Lane, name: str) -> None:
        super().__init__(lane, name)
        self._number = int(name.partition("-")[0]) + 1  # the name begins with the story's number
        self.replayed: set[str] = set()
        self._due_date = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()

    async def commands(self) -> None:
        """See `Story.send_commands`."""
        self.account, _ = await self.open_accounts("account", "merchant")
        await self.fund(self.account)
        await self._publish_bad_event()
        await self._receive()
        await asyncio.gather(self._return("part", "deposit", 100), self._return("again", "deposit", 50))
        await self._return_charge()
        await asyncio.gather(self._match(), self._replay())

    async def _receive(self) -> None:
        """Create the codes, and let strangers pay them."""
        due = {"date": self._due_date, "debtor": DEBTOR, "rebate": {"amount": brl(5)}}
        account = {"account_id": self.account}
        charge, due_charge, code = await asyncio.gather(
            self._send("charge", "/v1/pix/charges", {**account, "amount": brl(300)}),
            self._send("due", "/v1/pix/charges", {**account, "amount": brl(200), "due": due}),
            self._send("code", "/v1/pix/static-codes", account),
        )
        await asyncio.gather(
            self._paid(charge["br_code"], 300),
            self._paid(due_charge["br_code"], 195),
            self._paid(code["br_code"], 100, 50),
        )
        self.ids |= {"charge": charge["txid"], "due": due_charge["txid"]}
        await self._becomes("/v1/pix/charges", "charge", "paid")
        await self._becomes("/v1/pix/charges", "due", "paid")
        await eventually(lambda: self._credits(100, 50), lambda found: len(found) == 2)

    async def _paid(self, br_code: str, *amounts: int) -> None:
        """Pay a code with each of these amounts, unless the provider has such a payment: an order may have been
        processed without an answer."""
        code = parse_br_code(br_code)
        charges = [one for kind, one in records(self.lane.data_dir, JOURNAL_FILE) if kind == "charge"]
        of_charge = [one["txid"] for one in charges if one.get("location") == code.location]
        txid = of_charge[0] if code.location is not None else code.txid
        for amount in amounts:
            value = f"{amount / 100:.2f}"
            payments = [one for kind, one in records(self.lane.data_dir, JOURNAL_FILE) if kind == "payment"]
            if not any((one["txid"], one["original"]) == (txid, value) for one in payments):
                order = {"br_code": br_code, "amount": brl(amount)}
                assert (await self.lane.client.simulate("pix/payments", order)).status_code == 202

    async def _credits(self, *amounts: int) -> list[Any]:
        """Return the entries of the account with these amounts that credit it."""
        entries = await self.lane.client.listed(f"/v1/ledger/accounts/{self.account}/entries")
        return [one for one in entries if one["direction"] == "credit" and one["amount"]["value"] in amounts]

    async def _return(self, what: str, deposit: str, amount: int) -> None:
        """Return a part of a deposit."""
        await self._id(what, f"/v1/deposits/{self.ids[deposit]}/returns", {"amount": brl(amount)}, wait=5)
        await self._becomes("/v1/returns", what, "settled")

    async def _return_charge(self) -> None:
        """Return all that the charge has received."""
        (credit,) = await self._credits(300)
        transfer = await self.lane.client.get(f"/v1/ledger/transfers/{credit['transfer_id']}")
        await self._id("whole", f"/v1/deposits/{transfer['cause']['id']}/returns", {}, wait=5)
        await self._becomes("/v1/returns", "whole", "settled")

    async def _match(self) -> None:
        """Match two movements of the bank by hand: a settled line and a returned one, of no payment that is known."""
        references = [f"{letter * 16}{self._number:04d}" for letter in "AB"]
        lines = (payment(1, references[0]), payment(2, references[1], c14="A3"))
        file = await self._send("file", "/v1/settlement-files", {"content": content(*lines, sequence=self._number)})
        path = f"/v1/settlement-files/{file['id']}"
        await eventually(lambda: self.lane.client.get(path), lambda found: found["status"] == "applied")
        made = await self._send("reconciliation", "/v1/reconciliations", {"provider": "bank_transfer", **EVER})
        movements = [f"bank_transfer:{file['id']}:{line['line']}" for line in file["lines"]]
        body = {"ledger": [], "provider": movements, "reason": "the bank took it back"}
        await self._send("match", f"/v1/reconciliations/{made['id']}/match", body)
        self.ids |= {"reconciliation": made["id"], "first": movements[0], "second": movements[1]}

    async def _replay(self) -> None:
        """Replay the dead letters of the consumer, those of earlier stories too; each fails and is parked again."""
        await eventually(self._letters, lambda found: self.bad_event in {one["event"]["id"] for one in found})
        answer = await self._send("replay", "/v1/dead-letters/replay", {"consumer": BAD_CONSUMER})
        self.replayed = set(answer["replayed"])
        await eventually(self._letters, lambda found: all(self._is_parked_again(one) for one in found))

    async def _letters(self) -> list[Any]:
        return await self.lane.client.listed("/v1/dead-letters")

    def _is_parked_again(self, letter: Any) -> bool:
        return letter["status"] == "parked" and (letter["id"] not in self.replayed or letter["attempts"] > 1)

    async def check(self) -> None:
        """Check the account by balance, statement and ledger, the match, and that the dead letter was replayed."""
        await self._check_account(self.account, 1195, [1000, 300, 195, 100, 50, 100, 50, 300])
        found = await self.lane.client.get(f"/v1/reconciliations/{self.ids['reconciliation']}")
        by_hand = [item["provider"]["id"] for item in found["items"] if item["rule"] == "manual"]
        assert {self.ids["first"], self.ids["second"]} <= set(by_hand)
        assert len(by_hand) == len(set(by_hand)), "a movement is matched once"
        (letter,) = [one for one in await self._letters() if one["event"]["id"] == self.bad_event]
        assert letter["id"] in self.replayed
        assert letter["attempts"] > 1
