"""A process that applies transfers to one merchant until a test kills it:
`python -m tests.invariants.crediting URL FIRST BEHIND SEED`.

It applies the transfers of the payments FIRST to BEHIND with the function `apply_transfer` on the documents of the URL,
32 at a time, in an order of its own. Its bus is down, so that the events stay in the outbox. It prints each payment
after its transfer was applied, and at the end its counts as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from random import Random
from typing import Any, Final, cast

from events.ledger import PostedLeg, TransferPosted
from functions.accounts.apply_transfer import apply_transfer
from shared.adapters.memory.stores import MemoryCache, MemoryLedger, MemorySecrets
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import CommandListener, Server
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.core.ids import derived_id
from shared.core.settings import Settings
from shared.functions.decorators import operation_of
from shared.messaging.delivery import deliver
from shared.messaging.operation import EventOperation
from shared.records.accounts import HOLDS, HoldDocument
from shared.records.catalogue import COLLECTIONS
from tests.invariants.holding import AMOUNT, PAYEE, TENANT, DownBus, new_account
from tests.invariants.runtimes import runtime_of

PAYERS: Final = 60
_ABREAST: Final = 32
_RETRIED: Final = (409, 503)
_TIME: Final = "2026-01-01T00:00:00.000000Z"


class Transactions(CommandListener):
    """Counts the committed transactions, and those that ended because another one writes the same document."""

    def __init__(self) -> None:
        self.committed = 0
        self.conflicts = 0

    def started(self, event: Any) -> None:
        """Do nothing."""

    def succeeded(self, event: Any) -> None:
        """Count a commit."""
        self.committed += event.command_name == "commitTransaction"

    def failed(self, event: Any) -> None:
        """Count a conflict."""
        self.conflicts += "TransientTransactionError" in event.failure.get("errorLabels", ())


def payer_of(number: int) -> str:
    """Return the account that pays for a payment."""
    return f"acc_payer_{number % PAYERS:02}"


def accounts(payments: int) -> list[dict[str, Any]]:
    """Return the merchant's account, and the payers' with all their payments on hold."""
    new: list[Any] = [new_account(PAYEE, 0)]
    for number in range(PAYERS):
        held = AMOUNT * len(range(number, payments, PAYERS))
        new.append({**new_account(payer_of(number), held), "held": held})
    return new


def hold(number: int) -> HoldDocument:
    """Return the active hold of a payment."""
    payment_id = f"pay_{number:04}"
    made: Any = {
        # A field that is not named here has no value.
        **dict.fromkeys(HOLDS.fields),
        "id": derived_id("hld", TENANT, payment_id, "hold"),
        "tenant_id": TENANT,
        "version": 1,
        "status": "active",
        "account_id": payer_of(number),
        "amount": AMOUNT,
        "currency": "BRL",
        "cause_type": "payment",
        "cause_id": payment_id,
        "payment_id": payment_id,
        "counterparty_account_id": PAYEE,
        "limited": False,
        "created_at": _TIME,
        "updated_at": _TIME,
    }
    return cast("HoldDocument", made)


def posted(number: int) -> Envelope:
    """Return the event of the transfer of a payment."""

    def leg(place: int, account_id: str, direction: Any) -> PostedLeg:
        return PostedLeg(
            leg=place,
            account_id=account_id,
            direction=direction,
            amount=AMOUNT,
            currency="BRL",
            sequence=number + 1,
            balance_after=AMOUNT,
        )

    event = TransferPosted(
        transfer_id=f"ltr_{number:04}",
        cause_type="payment",
        cause_id=f"pay_{number:04}",
        legs=(leg(0, payer_of(number), "debit"), leg(1, PAYEE, "credit")),
        recorded_at=_TIME,
        payment_id=f"pay_{number:04}",
        description=None,
    )
    extensions = {"tenantid": TENANT, "partitionkey": f"{TENANT}/{event.transfer_id}"}
    id = f"evt_{number:04}"
    return Envelope(
        id, "/lastro/ledger/post_transfer", event.type, event.subject, _TIME, extensions, event=event, repeated=True
    )


async def main(url: str, first: int, behind: int, seed: int) -> None:
    """Apply the transfers."""
    counts = Transactions()
    server, random, clock = Server(url, [counts]), Random(seed), ManualClock()
    documents = MongoDocuments(server, COLLECTIONS)
    runtime = runtime_of(
        clock, random, documents, MemoryLedger(), MemoryCache(clock), DownBus(), MemorySecrets(), rail=None
    )
    runtime.settings = Settings(commit_pause_seconds=0.001)
    operation = cast("EventOperation", operation_of(apply_transfer))
    numbers = list(range(first, behind))
    random.shuffle(numbers)
    again = 0

    async def work() -> None:
        nonlocal again
        while numbers:
            number = numbers.pop()
            delivery = await deliver(operation, posted(number), runtime)
            while delivery.status in _RETRIED:
                again += 1
                delivery = await deliver(operation, posted(number), runtime)
            assert delivery.status == 204, delivery
            print(f"pay_{number:04}", flush=True)

    await asyncio.gather(*(work() for _ in range(_ABREAST)))
    print(json.dumps({"committed": counts.committed, "conflicts": counts.conflicts, "again": again}), flush=True)
    await server.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
