"""A simulated mail server: SMTP (RFC 5321) on a port of its own, and over HTTP what it has received.

| path | |
|---|---|
| GET `/messages` | shows what was delivered |
| POST `/faults` | orders a fault: `500` is a refusal for now (451), `refused` one for ever (550) |
"""

from __future__ import annotations

import asyncio
import socket
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

from aiosmtpd.smtp import SMTP

from embedded.simulators.callbacks import Sleep
from embedded.simulators.deliveries import Delivered, Deliveries
from embedded.simulators.gateways import Allow, MessageGateway, allow_all
from embedded.simulators.program import ConnectionCut
from shared.core.clock import Clock

PREFIX: Final = "/simulators/email"
FAULTS: Final = ("late", "twice", "500", "cut", "refused")
_MAX_MAIL_BYTES: Final = 1024 * 1024


class EmailSimulator(MessageGateway):
    """A simulated mail server on a listening socket. It accepts mail to every address, and passes none on."""

    def __init__(
        self,
        listening: socket.socket,
        clock: Clock,
        file: Path | None = None,
        *,
        prefix: str = PREFIX,
        allow: Allow = allow_all,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(Deliveries("email", clock, file, FAULTS), {}, prefix, allow, sleep)
        self._listening = listening
        self.port: int = listening.getsockname()[1]
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to receive mail. Needs a running event loop."""
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """Stop receiving mail."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        self._listening.close()

    async def _serve(self) -> None:
        def session() -> SMTP:
            return SMTP(self, hostname="localhost", ident="Lastro simulation", data_size_limit=_MAX_MAIL_BYTES)

        server = await asyncio.get_running_loop().create_server(session, sock=self._listening)
        async with server:
            await server.serve_forever()

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - the library's name
        """Receive a mail: a message to each of its recipients."""
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain",))
        text = "" if body is None else str(body.get_content()).replace("\r\n", "\n")
        id = str(mail["message-id"] or "").strip("<>").partition("@")[0]
        for to in envelope.rcpt_tos:
            order = self.deliveries.fault_of(to)
            if order is not None and order.fault == "500":
                return "451 a refusal for now was ordered"
            if order is not None and order.fault == "refused":
                return "550 a refusal was ordered"
            message = Delivered(id, to, str(mail["subject"] or ""), text, mail["content-language"])
            try:
                await self.deliver(message, order)
            except ConnectionCut:
                server.transport.abort()
        return "250 accepted"
