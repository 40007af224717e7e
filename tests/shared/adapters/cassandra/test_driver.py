"""What the driver's errors mean, and how its threads hand outcomes to the event loop; without a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cassandra import (
    ConsistencyLevel,
    InvalidRequest,
    OperationTimedOut,
    ReadTimeout,
    WriteTimeout,
    WriteType,
)
from cassandra import Unavailable as NotEnoughReplicas
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.policies import FallthroughRetryPolicy, RetryPolicy, TokenAwarePolicy

from shared.adapters.cassandra.driver import Connection, Kind, _profiles
from shared.adapters.cassandra.schema import _deciding
from shared.adapters.cassandra.tables import OutcomeUnknown
from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings
from shared.ports.documents import Unavailable

UNKNOWN = [
    WriteTimeout("timed out", write_type=WriteType.CAS),
    NotEnoughReplicas("replicas are down", required_replicas=2, alive_replicas=1),
    ReadTimeout("timed out"),
    OperationTimedOut(),
    NoHostAvailable("no host", {}),
    ConnectionShutdown("gone"),
]


class FakeResponse:
    """A response whose outcome comes from another thread."""

    def __init__(self, outcome: Exception | list[Any] | None, held: threading.Event | None = None) -> None:
        self._outcome = outcome
        self._held = held

    def add_callbacks(self, callback: Callable[[Any], None], errback: Callable[[Any], None]) -> None:
        """Call one of the two, from a thread."""

        def settle() -> None:
            if self._held is not None:
                self._held.wait()
            if isinstance(self._outcome, Exception):
                errback(self._outcome)
            else:
                callback(self._outcome)

        threading.Thread(target=settle).start()


class FakeSession:
    """A session whose every request has one outcome."""

    def __init__(self, outcome: Exception | list[Any] | None, held: threading.Event | None = None) -> None:
        self._outcome = outcome
        self._held = held
        self.profiles: list[str] = []

    def prepare(self, statement: str) -> Any:
        """Return something that takes the driver's attributes."""
        return type("Prepared", (), {"statement": statement})()

    def execute_async(self, statement: Any, values: Any, execution_profile: str) -> FakeResponse:
        """Return the response."""
        self.profiles.append(execution_profile)
        return FakeResponse(self._outcome, self._held)


def connection(session: FakeSession) -> Connection:
    """Return a connection over the session."""
    return Connection(cast("Any", None), cast("Any", session), "lastro")


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
async def test_an_error_of_a_conditional_write_leaves_its_outcome_unknown(error: Exception) -> None:
    """Whatever error but a refusal a conditional write ends with, it may have been applied."""
    with pytest.raises(OutcomeUnknown):
        await connection(FakeSession(error)).rows("INSERT … IF NOT EXISTS", (), Kind.CONDITIONAL)


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.SETTLED])
async def test_an_error_of_another_request_is_unavailable(error: Exception, kind: Kind) -> None:
    """A read or an idempotent write that fails is Unavailable, and has no unknown outcome."""
    with pytest.raises(Unavailable) as raised:
        await connection(FakeSession(error)).rows("SELECT", (), kind)
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_a_refusal_is_no_unknown_outcome() -> None:
    """A statement that the server refuses was not applied."""
    with pytest.raises(Unavailable, match="refuses") as raised:
        await connection(FakeSession(InvalidRequest("no such table"))).rows("INSERT", (), Kind.CONDITIONAL)
    assert not isinstance(raised.value, OutcomeUnknown)


async def test_an_outcome_after_a_cancellation_is_dropped() -> None:
    """A caller that is cancelled does not get the outcome that arrives later, and nothing fails."""
    held = threading.Event()
    made = connection(FakeSession([{"a": 1}], held))
    waiting = asyncio.create_task(made.rows("SELECT", ()))
    while made.requests == 0:  # noqa: ASYNC110 - the task has to send its request first, over a thread
        await asyncio.sleep(0.001)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.set()
    assert await connection(FakeSession([{"a": 1}])).rows("SELECT", ()) == [{"a": 1}]


async def test_a_statement_is_prepared_once() -> None:
    """The same statement is prepared once for each kind, as idempotent unless it is conditional."""
    session = FakeSession(None)
    made = connection(session)
    first, second = await asyncio.gather(made._prepare("SELECT", Kind.PLAIN), made._prepare("SELECT", Kind.PLAIN))
    assert first is second
    assert first.is_idempotent
    assert not (await made._prepare("SELECT", Kind.CONDITIONAL)).is_idempotent
    assert await made.rows("SELECT", (), Kind.SETTLED) == []
    assert session.profiles == ["settled"]


def test_consistency_and_repetition_by_kind() -> None:
    """Conditional writes are never repeated by the driver; only plain requests are sent to a second host."""
    profiles = _profiles("dc1")
    plain, settled, conditional = (profiles[kind.value] for kind in (Kind.PLAIN, Kind.SETTLED, Kind.CONDITIONAL))
    assert plain.consistency_level == conditional.consistency_level == ConsistencyLevel.LOCAL_QUORUM
    assert settled.consistency_level == conditional.serial_consistency_level == ConsistencyLevel.LOCAL_SERIAL
    assert isinstance(conditional.retry_policy, FallthroughRetryPolicy)
    assert type(plain.retry_policy) is RetryPolicy
    assert plain.speculative_execution_policy.new_plan("", None).next_execution(None) > 0
    assert conditional.speculative_execution_policy.new_plan("", None).next_execution(None) < 0
    assert all(isinstance(each.load_balancing_policy, TokenAwarePolicy) for each in (plain, settled, conditional))


async def test_the_url_names_one_of_several_data_centres() -> None:
    """A cluster with several data centres is refused until the URL names the one that decides."""
    made = connection(FakeSession([]))
    hosts = [SimpleNamespace(datacenter=name) for name in ("east", "west", "east")]
    made._cluster = SimpleNamespace(metadata=SimpleNamespace(all_hosts=lambda: hosts))
    assert _deciding(made, CassandraUrl.parse("cassandra://a/lastro?dc=west")) == "west"
    with pytest.raises(InvalidSettings, match=r"the data centres east, west: name one by \?dc="):
        _deciding(made, CassandraUrl.parse("cassandra://a/lastro"))
