"""A schedule's tick → saga.overdue for each payment, refund, deposit, return or client whose deadline has passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from events.sweeps import SagaOverdue, Tick
from shared.context import saga
from shared.context.context import Context
from shared.context.saga import SagaKey, SagaType
from shared.context.tenant_work import in_pages, run_in_tenant_unit_of_work, tenant_ids
from shared.functions.decorators import event_function
from shared.ports.documents import Collection, Query
from shared.records.deposits import DEPOSITS
from shared.records.payments import PAYMENTS, REFUNDS
from shared.records.returns import RETURNS
from shared.records.tenants import CLIENT_REGISTRATIONS

_Range = tuple[str | None, str | None]


class _Watched(NamedTuple):
    """A status in which the documents of a collection have a deadline (`due_at`)."""

    type: SagaType
    collection: Collection[Any, ...]
    status: str


_WATCHED: Final = (
    _Watched("payment", PAYMENTS, "created"),
    _Watched("payment", PAYMENTS, "capturing"),
    _Watched("payment", PAYMENTS, "processing"),
    _Watched("payment", PAYMENTS, "review"),
    _Watched("refund", REFUNDS, "created"),
    _Watched("refund", REFUNDS, "processing"),
    _Watched("deposit", DEPOSITS, "created"),
    _Watched("return", RETURNS, "created"),
    _Watched("return", RETURNS, "processing"),
    _Watched("client", CLIENT_REGISTRATIONS, "requested"),
)
_COLLECTIONS: Final[dict[str, Collection[Any, ...]]] = {watched.type: watched.collection for watched in _WATCHED}


@event_function(Tick, platform=True)
async def sweep_sagas(_tick: Tick, ctx: Context) -> None:
    """Publish `saga.overdue` for each saga whose deadline has passed; its owner retries the step or compensates.

    The cache lists the sagas that are due. It may have lost some, so each tenant's documents are searched, too: this
    reads an index and is cheap when nothing is overdue. The owner acts once on each attempt.
    """
    due: defaultdict[str, list[SagaKey]] = defaultdict(list)
    for key in await saga.due(ctx):
        due[key.tenant_id].append(key)
    for tenant_id, keys in due.items():
        await run_in_tenant_unit_of_work(ctx, tenant_id, f"due/{ctx.origin.cause_id}", partial(_publish_due, keys))
    published = {key for keys in due.values() for key in keys}
    async for tenant_id in tenant_ids(ctx):
        for watched in _WATCHED:
            for side, overdue in _overdue(ctx).items():
                work = f"{watched.type}/{watched.status}/{side}"
                query = Query({"status": watched.status}, ranges={"due_at": overdue}, order_by="due_at")
                publish = partial(_publish_page, watched, published)
                await in_pages(ctx, tenant_id, work, watched.collection, query, publish)


async def _publish_due(keys: list[SagaKey], scope: Context) -> None:
    """Publish the tenant's sagas that the cache lists as due and whose documents are overdue."""
    for key in keys:
        document = await scope.get(_COLLECTIONS[key.type], key.id)
        if document is not None and _is_overdue(document, scope):
            _publish(scope, key, document)
        # The cache entry is removed: if the saga becomes due again, its document has the new deadline.
        await saga.end(scope, key.type, key.id)


async def _publish_page(
    watched: _Watched, published: set[SagaKey], found: Sequence[Mapping[str, Any]], scope: Context
) -> None:
    """Publish one page of a tenant's overdue sagas."""
    for document in found:
        key = SagaKey(watched.type, scope.tenant_id, document["id"])
        if key not in published:
            _publish(scope, key, document)


def _overdue(scope: Context) -> dict[str, _Range]:
    """Return the ranges of `due_at` that are overdue: the past, and times later than any step's deadline can be.

    A deadline that is too late was made before the wall clock was set back, so its step may have stopped long ago.
    """
    return {"past": (None, scope.now_text), "ahead": (saga.latest_deadline(scope), None)}


def _is_overdue(document: Mapping[str, Any], scope: Context) -> bool:
    due_at, ranges = document["due_at"], _overdue(scope).values()
    return due_at is not None and any(
        (since is None or since <= due_at) and (until is None or due_at < until) for since, until in ranges
    )


def _publish(scope: Context, key: SagaKey, document: Mapping[str, Any]) -> None:
    step, attempt = document["status"], document["attempt"]
    scope.log.warning("%s is overdue: %s, attempt %d", key.id, step, attempt)
    fact = SagaOverdue(saga_id=key.id, saga_type=key.type, step=step, attempt=attempt)
    # The event key names the attempt: however often a sweep finds it, its fact has one id and the owner acts once.
    scope.emit(fact, event_key=f"{step}/{attempt}/{key.id}", causetype=key.type)
