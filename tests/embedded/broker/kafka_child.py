"""A process that delivers the events of a real Kafka and writes a line for each one that its function receives."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from embedded.broker.delivery import ACCEPTED, Answer
from shared.core.envelope import Envelope
from tests.embedded.broker.kafka_stage import on_kafka, shop_plan
from tests.embedded.broker.small_platform import Shop


async def main(url: str, root: Path, file: Path) -> None:
    """Deliver until the process is killed."""
    output = os.open(file, os.O_WRONLY | os.O_APPEND)

    async def bill(_name: str, envelope: Envelope, _first: bool) -> Answer:
        os.write(output, f"{os.getpid()} {envelope.partition_key} {envelope.id}\n".encode())
        await asyncio.sleep(0.005)
        return ACCEPTED

    def prepare(shop: Shop) -> None:
        shop.behaviour["billing"] = bill

    async with on_kafka(url, shop_plan(root, ordered=True), prepare=prepare):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
