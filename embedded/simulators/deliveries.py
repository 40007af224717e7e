"""What a simulated gateway of messages has delivered, and the faults that are ordered for its next messages."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedded.simulators.answering import first_error, json_response
from shared.core.clock import Clock, format_time
from shared.http.messages import HttpRequest, HttpResponse
from shared.ports.notifier import Channel

FILE: Final = "notifications.jsonl"
MAX_BYTES: Final = 10 * 1024 * 1024
"""At this size the file is begun anew; the one before it stays with the suffix `.1`."""
MAX_MESSAGES: Final = 1_000
"""The newest messages that are shown."""
MAX_FAULTS: Final = 1_000
LATE_SECONDS: Final = 5.0


class Delivered(NamedTuple):
    """A message as the gateway has got it. `locale` is None where the protocol has no language."""

    id: str
    to: str
    title: str
    text: str
    locale: str | None = None


class FaultOrder(BaseModel):
    """A fault for the next messages, or for those to one address.

    `seconds` is the delay of the fault `late`, and `times` the number of messages that have the fault.
    """

    model_config = ConfigDict(extra="forbid")

    fault: str
    to: str | None = Field(default=None, max_length=4096)
    seconds: float = Field(default=LATE_SECONDS, ge=0, le=3600)
    times: int = Field(default=1, ge=1, le=1_000)


class Deliveries:
    """The delivered messages of one channel, and its ordered faults.

    Each message is also a line of `file`, which only its owner can read, because messages have personal data. Several
    channels may have one file. Without a file the messages are in memory only.
    """

    def __init__(self, channel: Channel, clock: Clock, file: Path | None, faults: tuple[str, ...]) -> None:
        self._channel = channel
        self._clock = clock
        self._file = file
        self._known_faults = faults
        self._faults: deque[FaultOrder] = deque(maxlen=MAX_FAULTS)
        self._messages: deque[dict[str, Any]] | None = None

    def add(self, message: Delivered) -> None:
        """Deliver a message."""
        shown = {"channel": self._channel, "at": format_time(self._clock.now()), **message._asdict()}
        self._loaded().append(shown)
        if self._file is not None:
            _append(self._file, shown)

    def fault_of(self, to: str) -> FaultOrder | None:
        """Return the fault that was ordered for a message to this address. It is used up."""
        for order in self._faults:
            if order.to in (None, to):
                order.times -= 1
                if order.times == 0:
                    self._faults.remove(order)
                return order
        return None

    async def show(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Answer `GET /messages`: the newest messages, oldest first, or those to one address (`?to=`)."""
        query = dict(parse_qsl(request.query))
        to = query.pop("to", None)
        if query:
            return json_response(400, {"code": "invalid_query", "detail": "The only parameter is `to`."})
        return json_response(200, {"messages": [each for each in self._loaded() if to in (None, each["to"])]})

    async def order_fault(self, _name: str, request: HttpRequest) -> HttpResponse:
        """Answer `POST /faults`."""
        try:
            order = FaultOrder.model_validate_json(request.body)
        except ValidationError as error:
            return json_response(400, {"code": "invalid_fault", "detail": first_error(error)})
        if order.fault not in self._known_faults:
            known = ", ".join(self._known_faults)
            return json_response(400, {"code": "invalid_fault", "detail": f"The faults are {known}."})
        self._faults.append(order)
        return json_response(202, order.model_dump())

    def _loaded(self) -> deque[dict[str, Any]]:
        """Return the messages; at first those in the file of the previous process."""
        if self._messages is None:
            self._messages = deque(maxlen=MAX_MESSAGES)
            if self._file is not None and self._file.exists():
                for line in self._file.read_bytes().splitlines():
                    message = _message(line)
                    if message is not None and message.get("channel") == self._channel:
                        self._messages.append(message)
        return self._messages


def _message(line: bytes) -> dict[str, Any] | None:
    """Return the message in a line; None for a line that the end of the process has cut."""
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "to" in value else None


def _append(file: Path, shown: dict[str, Any]) -> None:
    if file.exists() and file.stat().st_size > MAX_BYTES:
        file.replace(file.with_suffix(".jsonl.1"))
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, orjson.dumps(shown) + b"\n")
    finally:
        os.close(descriptor)
