"""The adapter of LASTRO_DOCUMENTS=mongodb://…: the documents and nonces ports on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any

from shared.adapters.mongodb.documents import MongoDocuments
from shared.adapters.mongodb.driver import BadUrl, Server
from shared.adapters.mongodb.migration import NoTransactions, check_schema, check_server
from shared.adapters.mongodb.nonces import MongoNonces
from shared.adapters.mongodb.schema import NONCE_SECONDS
from shared.adapters.mongodb.steps import WrongSchema
from shared.core.settings import InvalidSettings
from shared.ports.documents import Collection, Unavailable
from shared.ports.lifecycle import PROBE_SECONDS, Adapter, AdapterOptions, NotOpened


class MongoStore(Adapter):
    """A database on MongoDB. It is opened when the database has the schema of this version (`lastro migrate`)."""

    adapter_name = "connection to MongoDB"
    documents: MongoDocuments
    nonces: MongoNonces
    _server: Server

    def __init__(
        self, url: str, collections: Callable[[], Sequence[Collection[Any, ...]]], *, waits: bool = True
    ) -> None:
        """`waits` is whether opening waits for a server that does not answer, as long as `serverSelectionTimeoutMS` in
        the URL says (5000 without it)."""
        self._url = url
        self._collections = collections
        self._waits = waits

    async def _open(self, closing: AsyncExitStack) -> None:
        try:
            self._server = server = Server(self._url)
        except BadUrl as error:
            raise NotOpened(f"LASTRO_DOCUMENTS cannot be used: {error}") from None
        closing.push_async_callback(server.aclose)
        checking = asyncio.create_task(self._check())
        # Motor's thread goes on when the task that waits for it is cancelled; it must not connect after the closing.
        closing.push_async_callback(asyncio.wait, (checking,))
        try:
            await asyncio.shield(checking)
        except (NoTransactions, WrongSchema, Unavailable) as error:
            raise NotOpened(f"{server.hosts}: {error}") from None
        self.documents = MongoDocuments(server, self._collections())
        self.nonces = MongoNonces(server)
        closing.push_async_callback(self._settle)
        closing.callback(self.nonces.close)
        closing.callback(self.documents.close)

    async def _check(self) -> None:
        """Raise Unavailable, NoTransactions or WrongSchema when the database cannot be used."""
        if self._waits:
            await check_server(self._server)
            await check_schema(self._server)
            return
        async with aclosing(Server(self._url, wait_seconds=PROBE_SECONDS)) as probe:
            await check_server(probe)
            await check_schema(probe)

    async def _settle(self) -> None:
        """Let the transactions in progress come to their end. What is cut off here is aborted by the server."""
        await self.documents.settled(self.close_seconds)

    @property
    def server_shown(self) -> str:
        return self._server.hosts

    async def _probe(self) -> None:
        try:
            await check_server(self._server)
        except (NoTransactions, Unavailable) as error:
            raise Unavailable(f"{self._server.hosts}: {error}") from error


def mongodb_store(options: AdapterOptions) -> MongoStore:
    """Return the database of the URL.

    Raises InvalidSettings when signatures may live longer than the server stores their nonces.
    """
    longest = NONCE_SECONDS // 2
    if "nonces" in options.ports and options.settings.timestamp_window_seconds > longest:
        raise InvalidSettings(
            f"LASTRO_TIMESTAMP_WINDOW_SECONDS is at most {longest} with the nonces on MongoDB, which deletes a nonce "
            f"{NONCE_SECONDS} s after its use"
        )
    return MongoStore(options.url, options.collections, waits=options.waits)
