"""The connection to Cassandra. Only this module imports the driver, when the first connection is made.

The driver has its own threads. A request is sent from the event loop, and its result returns to the loop with
`call_soon_threadsafe`. Requests are not paged, because the driver would fetch the second page in its own thread while
the caller waits: every statement that may return many rows has a LIMIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from shared.adapters.cassandra.tables import OutcomeUnknown
from shared.adapters.cassandra.url import CassandraUrl
from shared.core.settings import InvalidSettings
from shared.ports.documents import Unavailable

if TYPE_CHECKING:
    from cassandra.cluster import Cluster, ResponseFuture, Session
    from cassandra.query import PreparedStatement

log = logging.getLogger(__name__)
REQUEST_SECONDS: Final = 10.0
"""The timeout of a request, in seconds. The servers' own limits are shorter, so that their error arrives first."""
DEFINITION_SECONDS: Final = 120.0
"""Timeout of a statement that defines a keyspace or table, in seconds. It is longer because all nodes must agree on the
schema."""
CONNECT_SECONDS: Final = 10.0
"""The timeout for connecting to one address, in seconds."""
RECONNECT_SECONDS: Final = 10.0
"""The greatest pause between two attempts to reach a server that is down, in seconds. The driver's default is 600."""
SPECULATIVE_SECONDS: Final = 0.5
"""The time after which an idempotent request is also sent to the next host, in seconds."""
_SPECULATIVE_REQUESTS: Final = 1
_FIRST_RECONNECT_SECONDS: Final = 0.5
_PROTOCOL: Final = 5
"""The protocol version of Cassandra 4.0 and later. Without it the driver would first try newer versions and log
warnings."""

Row = Mapping[str, Any]
Values = Sequence[Any]


class Kind(Enum):
    """How a statement is executed."""

    PLAIN = "plain"
    """LOCAL_QUORUM. Idempotent: retried by the driver, and sent to a second host when the first is slow."""
    SETTLED = "settled"
    """A read at LOCAL_SERIAL, which decides the conditional writes that are in progress in the partition."""
    CONDITIONAL = "conditional"
    """A lightweight transaction: LOCAL_SERIAL and LOCAL_QUORUM. Never repeated by the driver."""
    DEFINITION = "definition"
    """A statement that defines a keyspace or a table. The driver never repeats it."""


class Connection:
    """A session of the driver. `{keyspace}` in a statement is replaced by the keyspace of the URL."""

    def __init__(self, cluster: Cluster, session: Session, keyspace: str) -> None:
        self._cluster = cluster
        self._session = session
        self._keyspace = keyspace
        self._prepared: dict[tuple[str, Kind], asyncio.Task[PreparedStatement]] = {}
        self.requests = 0
        """The number of requests that were sent."""

    @classmethod
    async def open(cls, url: CassandraUrl, seconds: float = CONNECT_SECONDS) -> Connection:
        """Connect, with this timeout in seconds for each address. The keyspace need not exist.

        Raises Unavailable, which names the addresses, and InvalidSettings.
        """
        cluster = await asyncio.to_thread(_cluster, url, seconds)
        try:
            session = await asyncio.to_thread(cluster.connect)
        except Exception as error:
            await asyncio.to_thread(cluster.shutdown)
            where = url.shown if url.datacenter is None else f"{url.shown} in the data centre {url.datacenter}"
            raise Unavailable(f"Cassandra at {where} cannot be reached: {_text(error)}") from error
        return cls(cluster, session, url.keyspace)

    async def close(self) -> None:
        """Close all connections and end the driver's threads."""
        for task in self._prepared.values():
            task.cancel()
        await asyncio.to_thread(self._cluster.shutdown)

    def datacenters(self) -> list[str]:
        """Return the names of the cluster's data centres."""
        return sorted({str(host.datacenter) for host in self._cluster.metadata.all_hosts() if host.datacenter})

    async def define(self, statement: str) -> None:
        """Execute a statement that defines a keyspace or a table. Raises Unavailable."""
        await self._run(self._in_keyspace(statement), None, Kind.DEFINITION)

    async def rows(self, statement: str, values: Values, kind: Kind = Kind.PLAIN) -> list[Row]:
        """Execute one prepared statement. Raises Unavailable, and OutcomeUnknown for a conditional one."""
        prepared = await self._prepare(statement, kind)
        return await self._run(prepared, values, kind)

    async def batch(self, statements: Sequence[tuple[str, Values]]) -> list[Row]:
        """Execute a conditional batch of prepared statements on one partition. Raises OutcomeUnknown."""
        from cassandra.query import BatchStatement, BatchType

        batch = BatchStatement(batch_type=BatchType.UNLOGGED)
        for statement, values in statements:
            batch.add(await self._prepare(statement, Kind.CONDITIONAL), values)
        return await self._run(batch, None, Kind.CONDITIONAL)

    async def _prepare(self, statement: str, kind: Kind) -> PreparedStatement:
        key = statement, kind
        task = self._prepared.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._prepared[key] = asyncio.create_task(self._prepared_now(statement, kind))
        return await asyncio.shield(task)

    async def _prepared_now(self, statement: str, kind: Kind) -> PreparedStatement:
        try:
            prepared = await asyncio.to_thread(self._session.prepare, self._in_keyspace(statement))
        except Exception as error:
            raise Unavailable(f"Cassandra did not prepare a statement: {_text(error)}") from error
        prepared.is_idempotent = kind is not Kind.CONDITIONAL
        return prepared

    def _in_keyspace(self, statement: str) -> str:
        return statement.replace("{keyspace}", self._keyspace)

    async def _run(self, statement: Any, values: Values | None, kind: Kind) -> list[Row]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[list[Row]] = loop.create_future()
        self.requests += 1
        response: ResponseFuture = self._session.execute_async(statement, values, execution_profile=kind.value)
        response.add_callbacks(
            lambda rows: _settle(loop, outcome, partial(outcome.set_result, rows)),
            lambda error: _settle(loop, outcome, partial(outcome.set_exception, error)),
        )
        try:
            return list(await outcome or ())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise _translated(error, kind) from error


def _settle(loop: asyncio.AbstractEventLoop, outcome: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    """Set the outcome of a request on its event loop. Called by a thread of the driver."""

    def settle_unless_done() -> None:
        # The request's caller may have been cancelled.
        if not outcome.done():
            settle()

    # The loop may be closed before the driver reports the outcome of a request.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(settle_unless_done)


def _translated(error: Exception, kind: Kind) -> Unavailable:
    from cassandra import AuthenticationFailed, RequestValidationException
    from cassandra.protocol import RequestValidationException as RequestValidationMessage

    refused = (RequestValidationException, RequestValidationMessage, AuthenticationFailed)
    if isinstance(error, refused):
        return Unavailable(f"Cassandra refuses a statement of the ledger: {_text(error)}")
    if kind is Kind.CONDITIONAL:
        # Also "unavailable": replicas may have been lost between the decision and its commit.
        return OutcomeUnknown(f"the outcome of a conditional write is unknown: {_text(error)}")
    return Unavailable(f"Cassandra does not answer: {_text(error)}")


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _cluster(url: CassandraUrl, seconds: float) -> Cluster:
    from cassandra.auth import PlainTextAuthProvider
    from cassandra.cluster import Cluster
    from cassandra.policies import ExponentialReconnectionPolicy

    user = None if url.user is None else PlainTextAuthProvider(url.user, url.password)
    return Cluster(
        contact_points=list(url.hosts),
        protocol_version=_PROTOCOL,
        auth_provider=user,
        ssl_context=_tls(url.ca) if url.tls else None,
        # The driver compares a certificate with the address of each node, which a cluster of pods changes at will.
        ssl_options={"server_hostname": url.name} if url.tls and url.name else None,
        execution_profiles=_profiles(url.datacenter),
        connect_timeout=seconds,
        control_connection_timeout=seconds,
        max_schema_agreement_wait=DEFINITION_SECONDS,
        reconnection_policy=ExponentialReconnectionPolicy(_FIRST_RECONNECT_SECONDS, RECONNECT_SECONDS),
    )


def _tls(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidSettings(f"LASTRO_LEDGER: the certificates in ca cannot be read: {error.strerror}") from None


def _profiles(datacenter: str | None) -> dict[Any, Any]:
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
    from cassandra.policies import (
        ConstantSpeculativeExecutionPolicy,
        DCAwareRoundRobinPolicy,
        FallthroughRetryPolicy,
        RetryPolicy,
        TokenAwarePolicy,
    )
    from cassandra.query import dict_factory

    def profile(consistency: int, *, repeated: bool, seconds: float = REQUEST_SECONDS) -> Any:
        # Requests for a partition are sent to the same replica first, so that conditional writes conflict less.
        return ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=datacenter or "")),
            retry_policy=RetryPolicy() if repeated else FallthroughRetryPolicy(),
            consistency_level=consistency,
            serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
            request_timeout=seconds,
            row_factory=dict_factory,
            speculative_execution_policy=(
                ConstantSpeculativeExecutionPolicy(SPECULATIVE_SECONDS, _SPECULATIVE_REQUESTS) if repeated else None
            ),
        )

    plain = profile(ConsistencyLevel.LOCAL_QUORUM, repeated=True)
    return {
        EXEC_PROFILE_DEFAULT: plain,
        Kind.PLAIN.value: plain,
        Kind.SETTLED.value: profile(ConsistencyLevel.LOCAL_SERIAL, repeated=False),
        Kind.CONDITIONAL.value: profile(ConsistencyLevel.LOCAL_QUORUM, repeated=False),
        Kind.DEFINITION.value: profile(ConsistencyLevel.LOCAL_QUORUM, repeated=False, seconds=DEFINITION_SECONDS),
    }
