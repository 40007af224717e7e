"""The gateways of messages on one machine: those that the settings name, and simulators for the other channels.

The platform sends to the simulators with the same adapters as to real gateways. SMS and push notifications go through
the gateway of this process without a socket, e-mails to a socket of 127.0.0.1. Everything is imported and made with
the first message: few users of one machine send any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.ports.notifier import CHANNELS, Channel, Message, Notifier

if TYPE_CHECKING:
    from embedded.gateway.gateway import Gateway
    from embedded.simulators.email import EmailSimulator
    from embedded.simulators.gateways import Allow
    from embedded.simulators.program import Simulator
    from shared.context.runtime import Runtime
    from shared.http.messages import HttpRequest, HttpResponse

ACCOUNT_FILE: Final = "push-simulator.json"
_SENDER: Final = "Lastro%20%3Cpayments%40lastro.example%3E"


class _Made:
    """A simulator that is made when it is first needed, once."""

    def __init__(self, make: Callable[[], Awaitable[Simulator]]) -> None:
        self._make = make
        self._lock = asyncio.Lock()
        self._simulator: Simulator | None = None

    def start(self) -> None:
        """Begin nothing: a simulator is started when it is made."""

    async def simulator(self) -> Simulator:
        """Return the simulator, started."""
        async with self._lock:
            if self._simulator is None:
                self._simulator = await self._make()
                self._simulator.start()
        return self._simulator

    async def close(self) -> None:
        """Stop the simulator if it was made."""
        if self._simulator is not None:
            await self._simulator.close()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        return await (await self.simulator())(request)


class _ToSimulator:
    """The adapter of a channel, which is made with the simulator."""

    def __init__(self, simulator: _Made, make: Callable[[Simulator], Notifier]) -> None:
        self._simulator = simulator
        self._make = make
        self._notifier: Notifier | None = None

    async def send(self, message: Message) -> None:
        """Send a message. See shared.ports.notifier.Notifier."""
        if self._notifier is None:
            self._notifier = self._make(await self._simulator.simulator())
        await self._notifier.send(message)


def add_notifiers(runtime: Runtime, gateway: Gateway, allow: Allow, stack: AsyncExitStack) -> dict[str, Simulator]:
    """Add adapters for the channels that the settings do not name to the runtime. Return their simulators by channel.

    `allow` raises Problem unless a request may read messages and order faults.
    """
    simulators: dict[str, Simulator] = {}
    making = _Making(runtime, gateway, allow)
    for channel in CHANNELS:
        if not getattr(runtime.settings, channel):
            make, connect = making.of(channel)
            simulator = _Made(make)
            stack.push_async_callback(simulator.close)
            simulators[channel] = simulator
            runtime.notifiers[channel] = _ToSimulator(simulator, connect)
    return simulators


class _Making:
    """Makes the simulator of each channel and the adapter that sends to it."""

    def __init__(self, runtime: Runtime, gateway: Gateway, allow: Allow) -> None:
        self._runtime = runtime
        self._gateway = gateway
        self._allow = allow
        self._base_url = runtime.settings.base_url.rstrip("/")
        self._token = runtime.secret_source.hexadecimal()

    def of(self, channel: Channel) -> tuple[Callable[[], Awaitable[Simulator]], Callable[[Simulator], Notifier]]:
        """Return the two functions of a channel."""
        return {
            "email": (self._email, self._to_email),
            "sms": (self._sms, self._to_sms),
            "push": (self._push, self._to_push),
        }[channel]

    @property
    def _folder(self) -> Path:
        return self._runtime.settings.data_path

    async def _email(self) -> EmailSimulator:
        from embedded.server.listening import listen
        from embedded.simulators.deliveries import FILE
        from embedded.simulators.email import EmailSimulator

        return EmailSimulator(listen("127.0.0.1", 0), self._runtime.clock, self._folder / FILE, allow=self._allow)

    def _to_email(self, simulator: Simulator) -> Notifier:
        from embedded.simulators.email import EmailSimulator
        from shared.adapters.notifiers.choosing import GatewayAddress
        from shared.adapters.notifiers.smtp import SmtpNotifier

        assert isinstance(simulator, EmailSimulator)
        return SmtpNotifier(GatewayAddress("email", f"smtp://127.0.0.1:{simulator.port}?from={_SENDER}"))

    async def _sms(self) -> Simulator:
        from embedded.simulators.deliveries import FILE
        from embedded.simulators.sms import SmsSimulator

        return SmsSimulator(self._runtime.clock, self._folder / FILE, token=self._token, allow=self._allow)

    def _to_sms(self, _simulator: Simulator) -> Notifier:
        from embedded.simulators.rails import OwnTransport
        from embedded.simulators.sms import PREFIX
        from shared.adapters.notifiers.choosing import GatewayAddress
        from shared.adapters.notifiers.sms import SmsNotifier

        address = GatewayAddress("sms", f"sms+http://:{self._token}@127.0.0.1{PREFIX}/messages?from=Lastro")
        return SmsNotifier(address, OwnTransport(self._gateway))

    async def _push(self) -> Simulator:
        from embedded.simulators.deliveries import FILE
        from embedded.simulators.push import PREFIX, PushSimulator, service_account

        # A new key takes some tenths of a second.
        account = await asyncio.to_thread(service_account, self._folder / ACCOUNT_FILE, self._base_url + PREFIX)
        return PushSimulator(account, self._runtime.clock, self._folder / FILE, allow=self._allow)

    def _to_push(self, _simulator: Simulator) -> Notifier:
        from embedded.simulators.rails import OwnTransport
        from shared.adapters.notifiers.choosing import GatewayAddress
        from shared.adapters.notifiers.push import PushNotifier

        address = GatewayAddress("push", (self._folder.absolute() / ACCOUNT_FILE).as_uri().replace("file:", "fcm:"))
        return PushNotifier(address, OwnTransport(self._gateway))
