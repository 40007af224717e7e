"""`python -m tests.servers.mongo_gateway --listen PORT --engine DSN`: MongoDB's protocol on 127.0.0.1."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

from tests.servers.mongo_gateway.engine import Engine
from tests.servers.mongo_gateway.server import TRANSACTION_SECONDS, Gateway


async def serve(listen: int, advertised: str, dsn: str, transaction_seconds: float) -> None:
    """Serve until SIGTERM or SIGINT. Clients are told the address `advertised`."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    engine = await Engine.connect(dsn)
    gateway = Gateway(engine, advertised, transaction_seconds=transaction_seconds)
    sweeping = asyncio.create_task(gateway.sweep())
    sweeping.add_done_callback(lambda _: ended.set())
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", listen)
    logging.getLogger("gateway").info("listening on 127.0.0.1:%d", listen)
    await ended.wait()
    server.close()
    await engine.close()
    if sweeping.done():
        sweeping.result()


def main() -> int:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.mongo_gateway", description=__doc__)
    parser.add_argument("--listen", type=int, required=True, metavar="PORT")
    parser.add_argument(
        "--engine", required=True, metavar="DSN", help="such as postgresql://postgres@127.0.0.1:5432/postgres"
    )
    parser.add_argument("--advertised", metavar="HOST:PORT", help="the address for clients, if it is another one")
    parser.add_argument("--transaction-seconds", type=float, default=TRANSACTION_SECONDS)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    advertised = given.advertised or f"127.0.0.1:{given.listen}"
    asyncio.run(serve(given.listen, advertised, given.engine, given.transaction_seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
