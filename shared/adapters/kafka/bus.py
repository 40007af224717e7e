"""The bus port on Kafka: publishes each committed event to its topic."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.kafka.address import KafkaAddress, read_address
from shared.adapters.kafka.connecting import connected, login_of, unavailable
from shared.core.envelope import ROUTE, Envelope
from shared.core.settings import Settings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import Adapter, AdapterOptions

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

log = logging.getLogger(__name__)
_LINGER_MS: Final = 2
_ABANDON_SECONDS: Final = 1.0
# Bytes of a record besides its value: attributes, and the framing of the record and its headers.
_RECORD_BYTES: Final = 1024
_MAX_REQUEST_BYTES: Final = 1024 * 1024


class KafkaBus(Adapter):
    """An idempotent producer. An event that `publish` has accepted is on every in-sync replica (acks=all).

    An event is published at least once. It can still be published after `publish` has raised Unavailable, if Kafka
    answers later than `bus_seconds`.
    """

    adapter_name = "bus"
    reads_the_outbox = False

    def __init__(self, address: KafkaAddress, settings: Settings, *, waits: bool = True) -> None:
        self.address = address
        self._settings = settings
        self._waits = waits
        self._producer: AIOKafkaProducer | None = None
        self._bytes = 0

    async def publish(self, events: Sequence[Envelope]) -> None:
        """Publish events, in order for each key. Raises Unavailable if an event was not accepted in time.

        An event without a topic is logged and not published, because no source could read it.
        """
        await self._sent([(topic, envelope) for envelope in events if (topic := _topic_of(envelope)) is not None])

    async def publish_to(self, topic: str, envelope: Envelope) -> None:
        """Publish an event to a topic other than that of its domain. Raises Unavailable."""
        await self._sent([(topic, envelope)])

    async def _sent(self, events: Sequence[tuple[str, Envelope]]) -> None:
        from aiokafka.errors import KafkaError

        self.require_open()
        sending: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._settings.bus_seconds):
                for topic, envelope in events:
                    sending.append(await self._send(self.address.on_server(topic), envelope))
                await asyncio.gather(*(asyncio.shield(future) for future in sending))
        except (KafkaError, OSError) as error:
            raise unavailable(self.address, error) from error
        finally:
            for future in sending:
                future.add_done_callback(_retrieve)

    async def _send(self, name: str, envelope: Envelope) -> asyncio.Future[Any]:
        """Pass an event to the producer. Return the future of Kafka's answer."""
        assert self._producer is not None, "the adapter is opened before it is used"
        key, value, headers = envelope.without_extension(ROUTE).to_record()
        size = len(value) + _RECORD_BYTES
        if self._bytes + size > self._settings.bus_buffer_bytes:
            raise Unavailable(
                f"Kafka at {self.address.shown} is too slow: {self._bytes} bytes of events wait for it "
                "(LASTRO_BUS_BUFFER_BYTES)"
            )
        self._bytes += size

        def answered(_: object) -> None:
            self._bytes -= size

        try:
            future: asyncio.Future[Any] = await self._producer.send(name, value, key=key, headers=headers)
        except BaseException:
            self._bytes -= size
            raise
        future.add_done_callback(answered)
        return future

    @property
    def server_shown(self) -> str:
        return f"Kafka at {self.address.shown}"

    async def _probe(self) -> None:
        from aiokafka.errors import KafkaError

        if self._producer is None:
            return
        try:
            if not await self._producer.client.force_metadata_update():
                raise Unavailable(f"{self.server_shown} does not answer")
        except (KafkaError, OSError) as error:
            raise unavailable(self.address, error) from error

    async def _open(self, closing: AsyncExitStack) -> None:
        from aiokafka import AIOKafkaProducer

        login = login_of(self.address)

        def make() -> AIOKafkaProducer:
            return AIOKafkaProducer(
                **login,
                client_id="lastro",
                acks="all",
                enable_idempotence=True,
                linger_ms=_LINGER_MS,
                max_request_size=_MAX_REQUEST_BYTES,
                request_timeout_ms=int(self._settings.bus_seconds * 1000),
            )

        producer = await connected(
            make, lambda made: made.start(), _abandon, self.address, self._settings, waits=self._waits
        )
        closing.push_async_callback(self._stop, producer)
        self._producer = producer

    async def _stop(self, producer: AIOKafkaProducer) -> None:
        """Wait for pending publications; discard those that Kafka does not accept in time, which stay in the outbox."""
        try:
            async with asyncio.timeout(max(self.close_seconds - _ABANDON_SECONDS, _ABANDON_SECONDS)):
                await producer.flush()
        except TimeoutError:
            log.warning("the bus is closed before Kafka at %s has accepted all events", self.address.shown)
        finally:
            await _abandon(producer)


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Stop a producer immediately. Its own `stop` would wait without limit for its buffer to empty."""
    from aiokafka.errors import ProducerClosed

    sending = producer._sender.sender_task  # noqa: SLF001 - the driver has no other way
    if sending is not None:
        sending.cancel()
        _, late = await asyncio.wait((sending,), timeout=_ABANDON_SECONDS)
        if late:
            # It waits for the answers to its last requests. A second cancellation ends it immediately.
            sending.cancel()
            await asyncio.wait((sending,))
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - as above
    await producer.stop()


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Read the result of a publication that is no longer awaited, so that asyncio does not report it as never
    retrieved."""
    if not future.cancelled():
        future.exception()


def _topic_of(envelope: Envelope) -> str | None:
    """Return the topic of an event: that of its domain, or for a replayed dead letter the topic that it was read
    from."""
    kind, _, topic = envelope.extensions.get(ROUTE, "").partition("/")
    if kind == "topic" and topic:
        return topic
    if envelope.topic is None:
        log.warning("event %s of %s has no topic and is not published", envelope.id, envelope.source)
    return envelope.topic


def kafka_bus(options: AdapterOptions) -> KafkaBus:
    """Return the adapter of a URL (shared.adapters.kafka.address). Raises InvalidSettings."""
    return KafkaBus(read_address(options.url), options.settings, waits=options.waits)
