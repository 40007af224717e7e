"""The source of a cluster without KafkaSource sends each record until the sink accepts it, in order."""

from __future__ import annotations

import logging

import httpx
import pytest

from shared.adapters.kafka.group import Record
from shared.adapters.kafka.offsets import PartitionProgress
from shared.bootstrap import topic_source
from shared.bootstrap.topic_source import SINK, TopicSource, http_headers, main
from tests.waiting import rest

HEADERS = (("ce_id", b"1"), ("ce_type", b"lastro.it.v1"), ("content-type", b"application/json"), ("other", b"x"))


def _records(progress: PartitionProgress, *values: bytes) -> list[Record]:
    made = []
    for offset, value in enumerate(values):
        progress.began(offset)
        made.append(Record("t", 0, offset, 0, HEADERS, value, progress))
    return made


class Sink:
    """Answers with the statuses in turn, and then with 202; keeps what it has accepted."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.accepted: list[bytes] = []
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        status = self.statuses.pop(0) if self.statuses else 202
        if status == 0:
            raise httpx.ConnectError("refused")
        if status == 202:
            self.accepted.append(request.content)
        return httpx.Response(status)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send again at once."""
    monkeypatch.setattr(topic_source, "_FIRST_PAUSE_SECONDS", 0.0)


def test_the_headers_of_kafka_become_those_of_http() -> None:
    """Attributes keep their names behind `ce-`, the media type stays, and other headers are not sent."""
    assert http_headers(_records(PartitionProgress(0), b"")[0]) == {
        "ce-id": "1",
        "ce-type": "lastro.it.v1",
        "content-type": "application/json",
    }


@pytest.mark.parametrize("failures", [[503], [0, 500], [429, 404, 409, 408]])
async def test_a_record_is_sent_until_it_is_accepted(failures: list[int]) -> None:
    """A sink that fails or cannot be reached gets the record again, and the next record only afterwards."""
    sink, progress = Sink(*failures), PartitionProgress(0)
    source = TopicSource("http://sink", sink.client)
    source.received(_records(progress, b"first", b"second"))
    await rest()
    assert progress.committable == 2
    assert sink.accepted == [b"first", b"second"]


async def test_a_refused_record_does_not_stop_its_partition(caplog: pytest.LogCaptureFixture) -> None:
    """A record that the sink refuses for good is left out with its place in the log, and the next one is sent."""
    sink, progress = Sink(400), PartitionProgress(0)
    with caplog.at_level(logging.ERROR):
        TopicSource("http://sink", sink.client).received(_records(progress, b"first", b"second"))
        await rest()
    assert progress.committable == 2
    assert sink.accepted == [b"second"]
    assert "refuses the record t/0, offset 0 with status 400" in caplog.text


async def test_a_record_that_is_given_back_is_not_finished() -> None:
    """When the partition goes to another process, an unaccepted record is not counted as sent."""
    sink, progress = Sink(*[503] * 1000), PartitionProgress(0)
    source = TopicSource("http://sink", sink.client)
    source.received(_records(progress, b"first"))
    await rest()
    assert len(sink.statuses) < 1000
    await source.revoked()
    assert progress.committable == 0
    assert sink.accepted == []


@pytest.mark.parametrize(
    ("variables", "topics", "reason"),
    [
        ({SINK: "http://sink", "LASTRO_BUS": "kafka://k"}, [], "name the topics"),
        ({SINK: "broker"}, ["t"], "K_SINK is not the http URL"),
        ({SINK: "http://sink"}, ["t"], "LASTRO_BUS is not set"),
    ],
)
def test_what_is_missing_is_named(
    variables: dict[str, str],
    topics: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without topics, a sink or a bus the process ends with 1 and one line that names what is missing."""
    monkeypatch.delenv("LASTRO_BUS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(topics) == 1
    assert reason in capsys.readouterr().err
