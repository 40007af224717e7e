"""Names of its own on the real Kafka, for each test."""

from __future__ import annotations

from uuid import uuid4

import pytest

from shared.adapters.kafka.address import KafkaAddress, read_address

ONE_SERVER = "kafka://127.0.0.1:9"
"""The URL of a server that refuses connections."""


@pytest.fixture
def bus_url(kafka_url: str) -> str:
    """Return the URL of a platform whose topics and group no other test uses."""
    name = f"test-{uuid4().hex}"
    return f"{kafka_url}?prefix={name}.&group={name}"


@pytest.fixture
def address(bus_url: str) -> KafkaAddress:
    """Return the address of that URL."""
    return read_address(bus_url)
