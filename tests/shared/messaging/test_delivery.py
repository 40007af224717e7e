"""The status of a delivery tells the broker whether to retry it."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from events.sweeps import HoldExpired
from shared.core.settings import Settings
from shared.ports.documents import Commit, InboxMarker, Unavailable, VersionConflict
from tests.harness import Harness


class _FailingDocuments:
    """Documents whose commits fail."""

    def __init__(self, documents: Any, failure: Exception) -> None:
        self._documents = documents
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def commit(self, commit: Commit) -> None:
        del commit
        raise self._failure


async def _expired(harness: Harness) -> HoldExpired:
    """Return a fact that changes a payment."""
    payer, payee = (await harness.account(1000))["id"], (await harness.account())["id"]
    payment = await harness.pay(payer, payee, 300, capture="manual")
    await harness.run_events()
    now = payment["created_at"]
    return HoldExpired(account_id=payer, payment_id=payment["id"], hold_id="hld_1", expires_at=now)


@pytest.mark.parametrize(
    ("failure", "status", "headers"),
    [
        (VersionConflict("changed"), 503, {"Kne-Code": "version_conflict"}),
        (
            Unavailable("mongo-3 is gone"),
            503,
            {"Kne-Code": "dependency_unavailable", "Kne-Detail": "A store cannot answer at the moment."},
        ),
        (
            Unavailable("the partner bank answered 500", is_public=True),
            503,
            {"Kne-Code": "dependency_unavailable", "Kne-Detail": "The partner bank answered 500."},
        ),
        (RuntimeError("a defect"), 500, {"Kne-Code": "internal_error"}),
    ],
)
async def test_an_event_that_cannot_be_committed_is_retried(
    failure: Exception, status: int, headers: dict[str, str]
) -> None:
    """Conflicts without end, a store or a provider that is gone, with its reason if that is public, and a defect are
    5xx with a code; the event is applied when the commit succeeds again."""
    harness = Harness.make(settings=Settings(commit_attempts=2, commit_pause_seconds=0.0))
    await harness.tenant()
    envelope = harness.envelope(await _expired(harness))
    documents = harness.runtime.documents
    harness.runtime.documents = _FailingDocuments(documents, failure)
    delivery = await harness.deliver("payments/expire", envelope)
    assert (delivery.status, delivery.headers) == (status, headers)
    harness.runtime.documents = documents
    assert (await harness.deliver("payments/expire", envelope)).status == 204


async def test_deliveries_are_logged_for_debugging(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    """With a logger for deliveries, each is logged with the event's type and id and the status."""
    logger = logging.getLogger("tests.deliveries")
    caplog.set_level(logging.DEBUG, logger.name)
    harness.runtime.telemetry.deliveries = logger
    envelope = harness.envelope(await _expired(harness))
    caplog.clear()
    assert (await harness.deliver("payments/expire", envelope)).status == 204
    [record] = [record for record in caplog.records if record.name == logger.name]
    assert record.getMessage().startswith(f"{envelope.type} {envelope.id} answered 204 in ")


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"partitionkey": None}, "malformed_request", "The event has no extension attribute partitionkey."),
        ({"partitionkey": "other/x"}, "tenant_mismatch", "The event's partitionkey does not begin with its tenant."),
        ({"tenantid": None}, "malformed_request", "The event names no tenant (extension attribute tenantid)."),
    ],
)
async def test_an_event_that_is_not_of_its_tenant_is_refused_with_what_is_wrong(
    changes: dict[str, str | None], code: str, detail: str
) -> None:
    """An absent partition key is named as absent, and one of another tenant as a mismatch."""
    harness = Harness.make()
    await harness.tenant()
    envelope = harness.envelope(await _expired(harness))
    extensions = {**envelope.extensions, **changes}
    envelope.extensions = {name: value for name, value in extensions.items() if value is not None}
    delivery = await harness.deliver("payments/expire", envelope)
    assert delivery.status in {400, 403}
    assert (delivery.headers["Kne-Code"], delivery.headers["Kne-Detail"]) == (code, detail)


class _FailingInbox:
    """Documents whose inbox cannot be read."""

    def __init__(self, documents: Any) -> None:
        self._documents = documents

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def seen(self, marker: InboxMarker) -> bool:
        del marker
        raise Unavailable("gone")


async def test_an_inbox_that_cannot_be_read_leaves_no_lock(harness: Harness) -> None:
    """When the inbox cannot be read, the event is retried, and the lock that was taken meanwhile is released."""
    envelope = harness.envelope(await _expired(harness))
    documents = harness.runtime.documents
    harness.runtime.documents = cast("Any", _FailingInbox(documents))
    assert (await harness.deliver("payments/expire", envelope)).status == 503
    harness.runtime.documents = documents
    assert (await harness.deliver("payments/expire", envelope)).status == 204


async def test_an_event_that_another_process_applies_is_retried(harness: Harness) -> None:
    """While another process holds the event's lock, a delivery is 409; when that process has applied the event, 204."""
    envelope = harness.envelope(await _expired(harness))
    key = f"inbox/payments/expire/{envelope.source}/{envelope.id}"
    token = await harness.runtime.cache.lock(key, 30)
    assert token is not None
    assert (await harness.deliver("payments/expire", envelope)).status == 409
    await harness.runtime.cache.unlock(key, token)
    assert (await harness.deliver("payments/expire", envelope)).status == 204
    assert await harness.runtime.cache.lock(key, 30) is not None
    assert (await harness.deliver("payments/expire", envelope)).status == 204
