"""The nonces port on MongoDB: a document for each used nonce, whose key is the nonce.

The server deletes it NONCE_SECONDS after its use, by the server's own clock. A jump of a function's wall clock
therefore does not make a used nonce usable again.
"""

from __future__ import annotations

from shared.adapters.mongodb.documents import CLOSED
from shared.adapters.mongodb.driver import DuplicateKey, Server
from shared.adapters.mongodb.encoding import TENANT
from shared.adapters.mongodb.schema import NONCES
from shared.adapters.mongodb.statements import Update
from shared.adapters.mongodb.writes import nonce_key
from shared.ports.lifecycle import Closed
from shared.ports.nonces import Nonce


class MongoNonces:
    """The nonces port on MongoDB. When `use_once` returns, a majority of the servers has the used nonce."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_closed = False

    def close(self) -> None:
        """Let `use_once` raise Closed."""
        self._is_closed = True

    async def use_once(self, nonce: Nonce) -> bool:
        """See Nonces.use_once."""
        if self._is_closed:
            raise Closed(CLOSED)
        # The filter matches no document, so the write inserts the key or finds that it exists.
        filter = {"_id": nonce_key(nonce), TENANT: nonce.tenant_id, "usedAt": {"$exists": False}}
        try:
            await self._server.write(NONCES, [Update(filter, {"$currentDate": {"usedAt": True}}, upsert=True)])
        except DuplicateKey:
            return False
        return True
