"""A simulated SMS gateway.

| path | |
|---|---|
| POST `/messages` | sends an SMS, `{"id", "to", "from", "text"}`, with a bearer token; an `id` is sent once |
| GET `/messages` | shows what was delivered |
| POST `/faults` | orders a fault |
"""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedded.simulators.answering import first_error, json_response
from embedded.simulators.callbacks import Sleep
from embedded.simulators.deliveries import Delivered, Deliveries
from embedded.simulators.gateways import Allow, MessageGateway, allow_all
from shared.core.clock import Clock
from shared.http.messages import HttpRequest, HttpResponse

PREFIX: Final = "/simulators/sms"
FAULTS: Final = ("late", "twice", "500", "cut", "refused")
_MAX_IDS: Final = 10_000


class _Sms(BaseModel):
    """The body of `POST /messages`. `to` is a number in E.164."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=100)
    to: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$")
    sender: str = Field(alias="from", min_length=1, max_length=20)
    text: str = Field(min_length=1, max_length=1_600)


class SmsSimulator(MessageGateway):
    """A simulated SMS gateway. With a `token`, sending needs it as the bearer token."""

    def __init__(
        self,
        clock: Clock,
        file: Path | None = None,
        *,
        prefix: str = PREFIX,
        token: str = "",
        allow: Allow = allow_all,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        deliveries = Deliveries("sms", clock, file, FAULTS)
        super().__init__(deliveries, {r"/(messages)": {"POST": self._send}}, prefix, allow, sleep)
        self._token = token
        self._sent: OrderedDict[str, _Sms] = OrderedDict()

    async def _send(self, _name: str, request: HttpRequest) -> HttpResponse:
        if self._token and not hmac.compare_digest(
            (request.header("authorization") or "").encode(), f"Bearer {self._token}".encode()
        ):
            return _refusal(401, "invalid_token", "The bearer token is missing or wrong.")
        try:
            sms = _Sms.model_validate_json(request.body)
        except ValidationError as error:
            return _refusal(422, "invalid_message", first_error(error))
        known = self._sent.get(sms.id)
        if known is not None and known != sms:
            return _refusal(409, "id_in_use", "Another message has this id.")
        order = self.deliveries.fault_of(sms.to)
        if order is not None and order.fault == "500":
            return _refusal(500, "internal_error", "An error was ordered for this request.")
        if order is not None and order.fault == "refused":
            return _refusal(422, "number_not_reachable", "A refusal was ordered for this request.")
        if known is None or (order is not None and order.fault == "twice"):
            self._sent[sms.id] = sms
            if len(self._sent) > _MAX_IDS:
                self._sent.popitem(last=False)
            await self.deliver(Delivered(sms.id, sms.to, "", sms.text), order)
        return json_response(202, {"id": sms.id, "status": "accepted"})


def _refusal(status: int, code: str, detail: str) -> HttpResponse:
    return json_response(status, {"code": code, "detail": detail})
