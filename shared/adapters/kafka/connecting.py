"""Shared by all clients of the driver: the login, the first connection, and the text of errors."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from shared.adapters.kafka.address import KafkaAddress
from shared.core.settings import InvalidSettings, Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import retry_at_start

C = TypeVar("C")
_ATTEMPT_SECONDS: Final = 5.0


def login_of(address: KafkaAddress) -> dict[str, Any]:
    """Return the driver's arguments for the connection to an address. Raises InvalidSettings."""
    options: dict[str, Any] = {"bootstrap_servers": list(address.servers)}
    security = "SASL_" if address.sasl else ""
    if address.tls:
        try:
            options["ssl_context"] = ssl.create_default_context(cafile=address.ca)
        except OSError as error:
            raise InvalidSettings(f"LASTRO_BUS: the certificates in ca cannot be read: {error.strerror}") from None
    options["security_protocol"] = security + ("SSL" if address.tls else "PLAINTEXT")
    if address.sasl:
        options["sasl_mechanism"] = address.sasl
        options["sasl_plain_username"] = address.username
        options["sasl_plain_password"] = address.password
    return options


def unavailable(address: KafkaAddress, error: BaseException) -> Unavailable:
    """Return the port's error for an error of the driver."""
    return Unavailable(f"Kafka at {address.shown}: {text_of(error)}")


def text_of(error: BaseException) -> str:
    """Return the text of a driver error on one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    name = type(error).__name__
    return str(error).partition("\n")[0].removeprefix(f"{name}: ").rstrip(".") or name


async def connected(
    make: Callable[[], C],
    start: Callable[[C], Awaitable[Any]],
    stop: Callable[[C], Awaitable[Any]],
    address: KafkaAddress,
    settings: Settings,
    *,
    waits: bool,
) -> C:
    """Return a connected client of the driver.

    Until `start_seconds` have passed, a client that cannot connect is stopped and a new one is created. Raises
    NotOpened.
    """
    from aiokafka.errors import KafkaError

    seconds = settings.start_seconds if waits else 0

    async def attempt() -> C:
        client = make()
        with _quiet_driver():
            starting = asyncio.ensure_future(start(client))
            try:
                async with asyncio.timeout(max(_ATTEMPT_SECONDS, seconds)):
                    await asyncio.shield(starting)
            except BaseException as error:
                await _stopped(client, starting, stop)
                if isinstance(error, KafkaError | OSError):
                    raise unavailable(address, error) from error
                raise
            return client

    return await retry_at_start(attempt, "LASTRO_BUS", seconds)


async def _stopped(client: C, starting: asyncio.Future[Any], stop: Callable[[C], Awaitable[Any]]) -> None:
    """Stop a client that is not connected, after its attempt to connect has ended.

    The attempt is not cancelled earlier, because the driver would leave open a connection that it was just making.
    """
    await asyncio.wait((starting,), timeout=_ATTEMPT_SECONDS)
    starting.cancel()
    await asyncio.wait((starting,))
    if not starting.cancelled():
        starting.exception()
    await stop(client)


@contextmanager
def _quiet_driver() -> Iterator[None]:
    """Suppress the driver's own log lines about failed connections: the caller reports the failure in one line."""
    driver = logging.getLogger("aiokafka")
    level = driver.level
    driver.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        driver.setLevel(level)
