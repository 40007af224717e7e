"""`lastro up` on a real Kafka, with documents that outlive the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from cli.main import app
from shared.adapters.kafka.bus import KafkaBus
from shared.adapters.memory.stores import MemoryDocuments
from shared.core.envelope import Envelope
from shared.core.problems import Problem
from shared.core.settings import InvalidSettings
from shared.ports.documents import Unavailable
from shared.ports.lifecycle import NotOpened
from tests.contract.calling import in_status, new_pair, running
from tests.embedded.platform.test_mixed_adapters import URL, documents, paid
from tests.waiting import PATIENCE_SECONDS

__all__ = ["documents"]


@pytest.fixture
def bus_url(kafka_url: str) -> str:
    """Return the URL of a platform whose topics and group no other test uses."""
    name = f"test-{uuid4().hex}"
    return f"{kafka_url}?prefix={name}.&group={name}"


ROOT = Path(__file__).parents[3]
TOPICS = (ROOT / "kafka-sources" / "topics.yaml").read_text().count("kind: KafkaTopic") + 1
"""The number of topics in the manifests: those of the file, and the Broker's."""


@pytest.fixture
def topics(bus_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the topics of the manifests by `lastro topics apply`, and return the URL."""
    monkeypatch.setenv("LASTRO_BUS", bus_url)
    missing = CliRunner().invoke(app, ["topics", "apply", "--dry-run", "--max-replicas", "1"])
    assert (missing.exit_code, missing.stdout.count("is missing")) == (0, TOPICS)
    made = CliRunner().invoke(app, ["topics", "apply", "--max-replicas", "1", "--json"])
    assert (made.exit_code, len(json.loads(made.stdout)["steps"])) == (0, TOPICS)
    again = CliRunner().invoke(app, ["topics", "apply", "--max-replicas", "1"])
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "the topics are as the manifests say\n")
    return bus_url


async def test_payments_settle_through_kafka(topics: str, tmp_path: Path, documents: MemoryDocuments) -> None:
    """A payment settles with every event on real topics; its events are shown from there; metrics and functions
    have the lag."""
    async with running(tmp_path, documents=URL, bus=topics) as deployment:
        pair = await new_pair(await deployment.tenant())
        payment_id = await paid(pair)
        tenant_id = pair.client.tenant_id
        inspection = deployment.platform.paths._state

        def is_finished() -> bool:
            entries = inspection.functions()
            return 'lastro_bus_lag{group="' in inspection.metrics() and max(entry["lag"] for entry in entries) == 0

        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_finished():  # noqa: ASYNC110 - Kafka tells it
                await asyncio.sleep(0.05)
        assert not await documents.unsent("9999", 10)
        with pytest.raises(Problem, match="on Kafka"):
            inspection.last_place()
    arguments = ["events", "tail", "--no-follow", "--json", "--tenant", tenant_id, "--payment", payment_id]
    shown = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert shown.exit_code == 0, shown.output
    types = [json.loads(line)["type"] for line in shown.stdout.splitlines()]
    assert types[0] == "lastro.payment.created.v1"
    assert "lastro.payment.settled.v1" in types


async def test_what_kafka_does_not_accept_is_published_by_the_sweep(
    topics: str, tmp_path: Path, documents: MemoryDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that Kafka does not accept stay in the outbox, and the sweep publishes them."""
    publish, refused = KafkaBus.publish, True

    async def interrupted(bus: KafkaBus, events: Sequence[Envelope]) -> None:
        if refused:
            raise Unavailable("Kafka does not answer")
        await publish(bus, events)

    async with running(tmp_path, documents=URL, bus=topics, outbox_grace_seconds=0) as deployment:
        pair = await new_pair(await deployment.tenant())
        monkeypatch.setattr(KafkaBus, "publish", interrupted)
        payment_id = (await pair.client.made("/v1/payments", pair.payment()))["id"]
        assert "lastro.payment.created.v1" in [event.type for event in await documents.unsent("9999", 10)]
        refused = False
        schedules = deployment.platform.schedules
        for entry in schedules._entries:
            if entry.ping.name == "operations-sweep-outbox":
                schedules._tick(entry)
        await in_status(pair.client, f"/v1/payments/{payment_id}", "settled")


async def test_a_start_without_topics_names_the_command(bus_url: str, tmp_path: Path) -> None:
    """`up` does not start without its topics, and says which command makes them."""
    with pytest.raises(NotOpened, match="run `lastro topics apply`"):
        async with running(tmp_path, documents=URL, bus=bus_url):
            pass


async def test_kafka_needs_documents_on_a_server(tmp_path: Path) -> None:
    """The embedded documents are refused with LASTRO_BUS, because their events are in the embedded log, and nothing is
    made."""
    with pytest.raises(InvalidSettings, match="LASTRO_BUS needs LASTRO_DOCUMENTS"):
        async with running(tmp_path / "data", bus="kafka://127.0.0.1:9"):
            pass
    assert not (tmp_path / "data").exists()
