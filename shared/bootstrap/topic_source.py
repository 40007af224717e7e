"""`python -m shared.bootstrap.topic_source TOPIC…`: a source of Knative that sends the records of topics to its sink.

It is the container of a ContainerSource, which sets K_SINK. It is for a cluster without Knative's KafkaSource, such as
the one of the tests; a KafkaSource also sends to a dead letter sink. The reader is that of `lastro up`: a member of the
consumer group of LASTRO_BUS that commits an offset only behind every earlier record. Records of a partition are sent in
order, one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.adapters.kafka.address import read_address
from shared.adapters.kafka.group import GroupReader, Record
from shared.bootstrap.starting import read_settings
from shared.core.settings import InvalidSettings, Settings
from shared.telemetry.logs import Logs, log_once

if TYPE_CHECKING:
    import httpx

_NAME: Final = "shared.bootstrap.topic_source"
log = logging.getLogger(_NAME)
SINK: Final = "K_SINK"
"""The variable with the URL to which events are sent (Knative's SinkBinding)."""
_RETRIED: Final = frozenset({404, 408, 409, 429})
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_SECONDS: Final = 600
"""How long the sink may take: a Broker with a channel in memory answers when all Triggers have delivered the event."""


class TopicSource:
    """Receives records and sends each to the sink until the sink accepts it."""

    def __init__(self, sink: str, client: httpx.AsyncClient) -> None:
        self._sink = sink
        self._client = client
        self._waiting: defaultdict[tuple[str, int], deque[Record]] = defaultdict(deque)
        self._senders: dict[tuple[str, int], asyncio.Task[None]] = {}

    def received(self, records: Sequence[Record]) -> None:
        """Begin to send records of one partition, in order."""
        for record in records:
            place = (record.topic, record.partition)
            self._waiting[place].append(record)
            if place not in self._senders:
                self._senders[place] = asyncio.create_task(self._send_all(place))

    async def revoked(self) -> None:
        """Give back every record that was not accepted. Its next reader sends it."""
        senders = tuple(self._senders.values())
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        self._senders.clear()
        self._waiting.clear()

    async def _send_all(self, place: tuple[str, int]) -> None:
        waiting = self._waiting[place]
        while waiting:
            await self._send(waiting[0])
            waiting.popleft().finish()
        # Nothing was awaited since the last look, so no record was added meanwhile.
        del self._senders[place]

    async def _send(self, record: Record) -> None:
        import httpx

        pause = _FIRST_PAUSE_SECONDS
        where = f"{record.topic}/{record.partition}, offset {record.offset}"
        headers = http_headers(record)
        if "ce-id" not in headers:
            log.error("the record %s is not a CloudEvent in binary mode and is left out", where)
            return
        while True:
            try:
                answer = await self._client.post(self._sink, headers=headers, content=record.value or b"")
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__} {error}"
            else:
                if answer.is_success:
                    return
                reason = f"status {answer.status_code}"
                if 300 <= answer.status_code < 500 and answer.status_code not in _RETRIED:
                    log.error("the sink refuses the record %s with %s; it is left out", where, reason)
                    return
            log.warning("the record %s is sent again in %.1f s: %s", where, pause, reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def http_headers(record: Record) -> Mapping[str, str]:
    """Return the headers of a record as those of the HTTP binding: `ce_id` becomes `ce-id`."""
    headers = {}
    for name, value in record.headers:
        if value is not None and (name.startswith("ce_") or name == "content-type"):
            headers[name.replace("ce_", "ce-", 1)] = value.decode("utf-8", "replace")
    return headers


async def send_topics(sink: str, topics: Sequence[str], settings: Settings) -> None:
    """Send the records of topics to a sink until SIGTERM or SIGINT. Raises NotOpened or Unavailable."""
    import httpx

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
        source = TopicSource(sink, client)
        async with GroupReader(read_address(settings.bus), settings, topics, source):
            log.info("the records of %s are sent to %s", ", ".join(topics), sink)
            await ended.wait()
            await source.revoked()


def main(topics: Sequence[str]) -> int:
    """Send the records of these topics to the URL in K_SINK. Returns an exit code."""
    from shared.ports.documents import Unavailable
    from shared.ports.lifecycle import NotOpened

    try:
        sink, settings = _checked(topics)
        logs = Logs(settings.log_level, settings.log_format)
        asyncio.run(send_topics(sink, topics, settings))
        logs.sink.flush()
    except (InvalidSettings, NotOpened, Unavailable) as error:
        log_once("error", _NAME, str(error), os.environ.get("LASTRO_LOG_FORMAT", ""))
        return 1
    return 0


def _checked(topics: Sequence[str]) -> tuple[str, Settings]:
    """Return the URL of the sink and the settings. Raises InvalidSettings."""
    sink = os.environ.get(SINK, "")
    if not topics:
        raise InvalidSettings("name the topics to read")
    if urlsplit(sink).scheme not in ("http", "https"):
        raise InvalidSettings(f"{SINK} is not the http URL of a sink; a ContainerSource sets it")
    settings = read_settings()
    if not settings.bus:
        raise InvalidSettings("LASTRO_BUS is not set: it names the Kafka whose topics are read")
    return sink, settings


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
