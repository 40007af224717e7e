"""The work of a measurement: the requests that are sent, and the time at which a payment counts as settled."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.tax_ids import cpf
from tests.bench import workload
from tests.bench.client import Credentials, Outcome
from tests.bench.fakes import FakeServer
from tests.bench.server import Server

CREDENTIALS = Credentials("127.0.0.1", 1, "ten_1", "key_1", "secret", "token")


def bodies(requests: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]


def connect_to(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    async def closed_loop(credentials: Credentials, requests: Iterator[bytes], connections: int) -> Outcome:
        return server.take(list(requests))

    async def open_loop(credentials: Credentials, requests: Iterator[bytes], per_second: float) -> Outcome:
        return server.take(list(requests))

    monkeypatch.setattr(workload, "closed_loop", closed_loop)
    monkeypatch.setattr(workload, "open_loop", open_loop)
    return cast("Server", server)


@given(st.integers(0, 2**32))
def test_user_has_a_valid_document(seed: int) -> None:
    """The user of a measurement has a CPF number that the platform accepts."""
    random.seed(seed)
    number = workload._user()["document"]["number"]
    assert cpf(number) == number


@given(st.integers(2, 5), st.integers(0, 30))
def test_spread_payments(accounts: int, number: int) -> None:
    """Spread payments are between two different accounts of the given ones, each with its own key."""
    known = [f"acc_{position}" for position in range(accounts)]
    requests = list(workload.payments(CREDENTIALS, known, number, hot=None))
    orders = bodies(requests)
    assert len(orders) == number
    assert all(order["payer_account_id"] != order["payee_account_id"] for order in orders)
    assert {order[side] for order in orders for side in ("payer_account_id", "payee_account_id")} <= set(known)
    keys = [line for request in requests for line in request.split(b"\r\n") if line.startswith(b"idempotency-key")]
    assert len(set(keys)) == number


def test_hot_payments() -> None:
    """Payments to one merchant all go to its account, and none of them come from it."""
    orders = bodies(list(workload.payments(CREDENTIALS, ["acc_1", "acc_2", "acc_3"], 40, hot="acc_1")))
    assert {order["payee_account_id"] for order in orders} == {"acc_1"}
    assert {order["payer_account_id"] for order in orders} == {"acc_2", "acc_3"}


async def test_rate_counts_to_the_last_settlement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate ends when every payment is settled and in the statement, and a further response confirms that it is on
    disk."""
    server = FakeServer()
    unread = iter([0, 0, 0, 3])

    def deliveries(self: FakeServer, consumer: str) -> int:
        late = consumer == "statements/project_transfer" and self.settled == 5
        return next(unread, 5) if late else self.settled

    monkeypatch.setattr(FakeServer, "deliveries", deliveries)
    assert await workload.settled_per_second(connect_to(server, monkeypatch), ["acc_1", "acc_2"], 5, None) > 0
    assert len(server.sent) == 6
    assert next(unread, None) is None


async def test_refused_payment_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response other than 201 is an error with the counts of all statuses, not a lower rate."""
    server = FakeServer()
    monkeypatch.setattr(FakeServer, "take", lambda self, requests: Outcome(1.0, [0.1], {201: 4, 503: 1}))
    with pytest.raises(RuntimeError, match=r"other than 201: \{201: 4, 503: 1\}"):
        await workload.settled_per_second(connect_to(server, monkeypatch), ["acc_1", "acc_2"], 5, None)


async def test_latency_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is measured for rate times seconds payments with `Prefer: wait`, in milliseconds."""
    server = FakeServer()
    outcome = Outcome(1.0, [number / 1000 for number in range(1, 101)], {201: 100})
    monkeypatch.setattr(FakeServer, "take", lambda self, requests: self.sent.extend(requests) or outcome)
    found = await workload.latency(connect_to(server, monkeypatch), ["acc_1", "acc_2"], 50.0, 2)
    assert found == pytest.approx({"per_second": 50.0, "p50_ms": 51, "p95_ms": 96, "p99_ms": 100})
    assert len(server.sent) == 100
    assert all(b"prefer: wait=10" in request for request in server.sent)


async def test_accounts_may_overdraw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts of a measurement belong to one new user and may overdraw, so that no payment is declined."""
    calls: list[tuple[str, dict[str, Any]]] = []

    async def call(credentials: Credentials, method: str, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        calls.append((path, body))
        return {"id": f"id_{len(calls)}"}

    monkeypatch.setattr(workload, "call", call)
    accounts = await workload.open_accounts(CREDENTIALS, 3)
    assert accounts == ["id_2", "id_3", "id_4"]
    assert [path for path, _ in calls] == ["/v1/users", *["/v1/accounts"] * 3]
    assert all(body["overdraft_limit"] > 10**9 and body["owner_id"] == "id_1" for _, body in calls[1:])
