"""What the simulated gateways of messages have in common: the paths of a person who tries them, and faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from embedded.simulators.answering import json_response
from embedded.simulators.callbacks import Sleep
from embedded.simulators.deliveries import Delivered, Deliveries, FaultOrder
from embedded.simulators.program import ConnectionCut
from embedded.simulators.routing import Answer, Routes
from shared.http.messages import HttpRequest, HttpResponse

Allow = Callable[[HttpRequest], Awaitable[object]]
"""Raises Problem unless the request may read messages and order faults."""


async def allow_all(_request: HttpRequest) -> None:
    """Allow every request: the simulator is a program of its own, on an address that its user has chosen."""


class MessageGateway:
    """A simulated gateway of messages: `GET /messages` shows what it has delivered, `POST /faults` orders faults.

    `answers` are the paths of the gateway's own protocol.
    """

    def __init__(
        self,
        deliveries: Deliveries,
        answers: Mapping[str, dict[str, Answer]],
        prefix: str,
        allow: Allow = allow_all,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.deliveries = deliveries
        self._allow = allow
        self._sleep = sleep
        inspected: dict[str, dict[str, Answer]] = {
            r"/(messages)": {"GET": self._allowed(deliveries.show)},
            r"/(faults)": {"POST": self._allowed(deliveries.order_fault)},
        }
        for path, by_method in answers.items():
            inspected[path] = {**inspected.get(path, {}), **by_method}
        self._routes = Routes(inspected, prefix, ("/",), _never)

    def start(self) -> None:
        """Begin. There is nothing to continue with: what was accepted was delivered."""

    async def close(self) -> None:
        """Stop. There is nothing to wait for."""

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path under the prefix. Raises Problem, and ConnectionCut."""
        missing = {"code": "not_found", "detail": "There is nothing at this path."}
        return await self._routes(request) or json_response(404, missing)

    async def deliver(self, message: Delivered, order: FaultOrder | None) -> None:
        """Deliver a message with the fault that was ordered for it. Raises ConnectionCut after the delivery."""
        fault = None if order is None else order.fault
        if order is not None and fault == "late":
            await self._sleep(order.seconds)
        for _ in range(2 if fault == "twice" else 1):
            self.deliveries.add(message)
        if fault == "cut":
            raise ConnectionCut("the answer to this request was ordered to be lost")

    def _allowed(self, answer: Answer) -> Answer:
        async def checked(name: str, request: HttpRequest) -> HttpResponse:
            await self._allow(request)
            return await answer(name, request)

        return checked


async def _never(answer: Answer, name: str, request: HttpRequest) -> HttpResponse:
    """Answer a request whose path checks its own access, as all of these do."""
    return await answer(name, request)
