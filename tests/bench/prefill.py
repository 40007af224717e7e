"""Grows a ledger to a size for which payments would need an hour, by recording transfers through the store's own
ledger."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

from shared.adapters.sqlite.store import SqliteStore
from shared.core.clock import SystemClock, format_time
from shared.core.ids import IdSource, derived_id
from shared.core.settings import Settings
from shared.ports.ledger import Cause, Leg, Transfer
from shared.records.catalogue import COLLECTIONS
from tests.opening import open_adapter

_BATCH = 2000


async def prefill(data_dir: Path, accounts: list[str], lines: int) -> int:
    """Record transfers of one centavo between accounts until the ledger has `lines` more lines. The platform of this
    data directory must not be running."""
    from random import Random

    clock = SystemClock()
    ids = IdSource(clock, Random(7))
    settings = Settings(data_dir=str(data_dir))
    store = await open_adapter(
        SqliteStore(data_dir, collections=COLLECTIONS, settings=settings, clock=clock, writer="process")
    )
    pairs = cycle(zip(accounts, accounts[1:] + accounts[:1], strict=True))
    try:
        for number in range(lines // 2):
            payer, payee = next(pairs)
            payment_id = ids.new("pay")
            transfer = Transfer(
                tenant_id="demo",
                id=derived_id("ltr", "demo", payment_id, "capture"),
                cause=Cause("payment", payment_id),
                legs=(Leg(payer, "debit", 1, "BRL"), Leg(payee, "credit", 1, "BRL")),
                payment_id=payment_id,
            )
            await store.ledger.append(transfer, format_time(clock.now()))
            if number % _BATCH == 0:
                await store.documents.durable()
        await store.documents.durable()
    finally:
        await store.aclose()
    return lines
