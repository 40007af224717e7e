"""One call of each method of each port, for the suites that ask what every method does when its adapter is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from shared.core.clock import ManualClock
from shared.core.flags import STOP_METHOD
from shared.ports.bus import Bus
from shared.ports.cache import Cache
from shared.ports.documents import Commit, Documents, InboxMarker, Query
from shared.ports.flags import Flags
from shared.ports.ledger import Cause, LedgerStore, Leg, Transfer
from shared.ports.nonces import Nonce, Nonces
from shared.ports.rate_limits import RateLimits
from shared.ports.secrets import Secrets
from tests.ports.documents_suite import NOTES, event

Use = Callable[[], Any]

_NOW = ManualClock().now()
_TIME = "2026-01-01T00:00:00.000000Z"
_CAUSE = Cause("payment", "pay_1")
_LEGS = (Leg("acc_1", "debit", 5, "BRL"), Leg("acc_2", "credit", 5, "BRL"))


def document_uses(documents: Documents) -> list[Use]:
    return [
        partial(documents.get, NOTES, "ten_1", "n1"),
        partial(documents.find, NOTES, "ten_1", Query()),
        partial(documents.history, "ten_1", "pay_1", None, 5),
        partial(documents.seen, InboxMarker("consumer", "/source", "e1")),
        partial(documents.commit, Commit("ten_1", events=[event("e1")])),
        partial(documents.durable),
        partial(documents.unsent, _TIME, 5),
        partial(documents.mark_sent, [event("e1")]),
        partial(documents.get, NOTES, "ten_1", "zz_greater_than_every_id"),
    ]


def ledger_uses(ledger: LedgerStore) -> list[Use]:
    return [
        partial(ledger.append, Transfer("ten_1", "tra_1", _CAUSE, _LEGS), _TIME),
        partial(ledger.append, Transfer("ten_1", "tra_1", _CAUSE, _LEGS), _TIME),
        partial(ledger.refuse, "ten_1", "tra_2", _CAUSE, "late", _TIME),
        partial(ledger.transfer, "ten_1", "tra_1"),
        partial(ledger.transfer, "ten_1", "zz_greater_than_every_id"),
        partial(ledger.entries, "ten_1", "acc_1", 0, 5),
        partial(ledger.balance, "ten_1", "acc_1"),
        partial(ledger.balance, "ten_1", "acc_unknown"),
        partial(ledger.turnover, "ten_1"),
    ]


def nonce_uses(nonces: Nonces) -> list[Use]:
    now = Nonce("ten_1", b"n", _NOW, _NOW + timedelta(seconds=600))
    return [partial(nonces.use_once, now), partial(nonces.use_once, now)]


def cache_uses(cache: Cache) -> list[Use]:
    return [
        partial(cache.get, "k"),
        partial(cache.set, "k", b"v", 5),
        partial(cache.lock, "k", 5),
        partial(cache.unlock, "k", 1),
        partial(cache.schedule, "k", _NOW),
        partial(cache.unschedule, "k"),
        partial(cache.due, _NOW, 5),
        partial(cache.clear),
    ]


def bus_uses(bus: Bus) -> list[Use]:
    return [partial(bus.publish, [event("e1")])]


def secret_uses(secrets: Secrets) -> list[Use]:
    return [
        partial(secrets.get, "name"),
        partial(secrets.put, "name", b"value"),
        partial(secrets.seal, ["text"], "ten_1"),
        partial(secrets.open, (), "ten_1"),
        partial(secrets.blind_index, "text", "ten_1"),
    ]


def flag_uses(flags: Flags) -> list[Use]:
    return [partial(flags.enabled, STOP_METHOD["pix"], "ten_1")]


def rate_limit_uses(rate_limits: RateLimits) -> list[Use]:
    return [partial(rate_limits.take, "k", 2)] * 3


def joined(*parts: Sequence[Use]) -> list[Use]:
    return [use for part in parts for use in part]
