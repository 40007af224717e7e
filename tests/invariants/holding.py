"""A process that holds funds for payments until a test kills it: `python -m tests.invariants.holding URL SEED COUNT`.

It applies the same events as every other such process, in an order of its own, with the function `hold_funds` on the
documents of the URL. Its bus is down, so that the events stay in the outbox. It prints each payment after its event was
applied.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from random import Random
from typing import Any, Final, cast

from events.payments.created import PaymentCreated
from functions.accounts.hold_funds import hold_funds
from shared.adapters.memory.stores import MemoryCache, MemoryLedger, MemorySecrets
from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import Server
from shared.core.clock import ManualClock
from shared.core.envelope import Envelope
from shared.core.money import money
from shared.core.settings import Settings
from shared.functions.decorators import operation_of
from shared.messaging.delivery import deliver
from shared.messaging.operation import EventOperation
from shared.ports.documents import Unavailable
from shared.records.accounts import ACCOUNTS, AccountDocument
from shared.records.catalogue import COLLECTIONS
from tests.invariants.runtimes import runtime_of

TENANT: Final = "ten_1"
PAYER: Final = "acc_payer"
PAYEE: Final = "acc_payee"
AMOUNT: Final = 10
_RETRIED: Final = (409, 503)


class DownBus:
    """The bus port of a bus that does not answer."""

    reads_the_outbox = False

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Raise Unavailable."""
        raise Unavailable("the bus is down")


def new_account(id: str, posted: int) -> AccountDocument:
    """Return a new account with a balance in minor units."""
    made: Any = {
        # A field that is not named here has no value.
        **dict.fromkeys(ACCOUNTS.fields),
        "id": id,
        "tenant_id": TENANT,
        "version": 1,
        "owner_id": "usr_1",
        "currency": "BRL",
        "status": "active",
        "posted": posted,
        "held": 0,
        "overdraft_limit": 0,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "updated_at": "2026-01-01T00:00:00.000000Z",
    }
    return cast("AccountDocument", made)


def created(number: int) -> Envelope:
    """Return the event of the payment with this number."""
    event = PaymentCreated(
        payment_id=f"pay_{number:04}",
        amount=money(AMOUNT, "BRL"),
        payer_account_id=PAYER,
        payee_account_id=PAYEE,
        method="internal",
        capture="automatic",
        expires_at="2026-01-02T00:00:00.000000Z",
    )
    extensions = {"tenantid": TENANT, "partitionkey": f"{TENANT}/{event.payment_id}"}
    return Envelope(
        f"evt_{number:04}",
        "/lastro/payments/create_payment",
        event.type,
        event.payment_id,
        "2026-01-01T00:00:00.000000Z",
        extensions,
        event=event,
        repeated=True,
    )


async def main(url: str, seed: int, count: int) -> None:
    """Apply the events of so many payments, four at a time."""
    server, random, clock = Server(url), Random(seed), ManualClock()
    documents = MongoDocuments(server, COLLECTIONS)
    runtime = runtime_of(
        clock, random, documents, MemoryLedger(), MemoryCache(clock), DownBus(), MemorySecrets(), rail=None
    )
    runtime.settings = Settings(commit_pause_seconds=0.001)
    operation = cast("EventOperation", operation_of(hold_funds))
    numbers = list(range(count))
    random.shuffle(numbers)

    async def work() -> None:
        while numbers:
            envelope = created(numbers.pop())
            delivery = await deliver(operation, envelope, runtime)
            while delivery.status in _RETRIED:
                delivery = await deliver(operation, envelope, runtime)
            assert delivery.status == 204, delivery
            print(envelope.subject, flush=True)

    await asyncio.gather(*(work() for _ in range(4)))
    await server.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
