"""What each function uses, by its code, compared with what it uses when it runs."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import tests.harness
from embedded.policies.uses import uses
from embedded.wiring.repository import Repository, read_repository
from shared.functions.operation import Operation
from tests.functions.providers.rail import RecordingRail
from tests.harness import Harness

ROOT = Path(__file__).resolve().parents[3]
PORTS = ("ledger", "cache", "nonces", "bus", "secrets", "flags", "documents")
RUNNING: ContextVar[str | None] = ContextVar("RUNNING", default=None)


@pytest.fixture(scope="module")
def repository() -> Repository:
    return read_repository(ROOT)


@pytest.fixture
def by_operation(repository: Repository) -> dict[str, frozenset[str]]:
    found = {}
    for name, ports in uses(repository).items():
        function = repository.behind(name)
        assert function is not None
        found[function.operation.id] = ports
    return found


class Recorded:
    """A port that notes which operation reads one of its attributes."""

    def __init__(self, port: Any, name: str, seen: set[tuple[str, str]]) -> None:
        self._port, self._name, self._seen = port, name, seen

    def __getattr__(self, attribute: str) -> Any:
        operation = RUNNING.get()
        # `reads_the_outbox` and `answers_at_once` are constants of an adapter: nothing is sent.
        if operation is not None and attribute not in ("reads_the_outbox", "answers_at_once", "read_token"):
            self._seen.add((operation, self._name))
        return getattr(self._port, attribute)


def record(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """Note every use of a port by an operation of the harness."""
    seen: set[tuple[str, str]] = set()
    for name in PORTS:
        setattr(harness.runtime, name, Recorded(getattr(harness.runtime, name), name, seen))
    harness.runtime.signing_secrets = type(harness.runtime.signing_secrets)(harness.runtime.secrets)
    for name in ("serve", "deliver"):
        run = getattr(tests.harness, name)

        async def noted(operation: Operation, *arguments: Any, _run: Any = run, **options: Any) -> Any:
            token = RUNNING.set(operation.id)
            try:
                return await _run(operation, *arguments, **options)
            finally:
                RUNNING.reset(token)

        monkeypatch.setattr(tests.harness, name, noted)
    return seen


async def test_what_a_function_uses_is_found_in_its_code(
    by_operation: dict[str, frozenset[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In payments, a refund, a deposit, statements and the ledger's pages, no operation uses a port that was not found
    in its code."""
    harness = Harness.make()
    harness.runtime.rails["pix"] = RecordingRail()
    seen = record(harness, monkeypatch)
    await harness.tenant()
    payer = (await harness.account(100_000))["id"]
    payee = (await harness.account())["id"]
    payment = (await harness.pay(payer, payee, 1_000))["id"]
    manual = (await harness.pay(payer, payee, 2_000, capture="manual"))["id"]
    await harness.run_events()
    amount = {"value": 100, "currency": "BRL"}
    await harness.call("POST", f"/v1/payments/{payment}/refunds", {"amount": amount})
    await harness.call("POST", f"/v1/payments/{manual}/cancel")
    await harness.call("POST", "/v1/deposits", {"account_id": payer, "amount": amount, "method": "pix"})
    await harness.run_events()
    for path in (
        f"/v1/payments/{payment}",
        f"/v1/accounts/{payer}/balance",
        f"/v1/ledger/accounts/{payer}/entries",
        "/v1/ledger/trial-balance",
        "/v1/users",
        "/v1/tenants/acme",
    ):
        assert (await harness.call("GET", path)).status == 200, path
    assert harness.undelivered == []

    assert len({operation for operation, _ in seen}) > 20
    assert sorted(use for use in seen if use[1] not in by_operation[use[0]]) == []


def test_a_function_uses_no_store_that_it_does_not_name(by_operation: dict[str, frozenset[str]]) -> None:
    """A function that creates payments uses no ledger, one that posts them no flags, and a callback no realm."""
    assert by_operation["payments/create_payment"] == {
        *("documents", "identity", "cache", "nonces", "flags", "secrets", "bus"),
    }
    assert by_operation["ledger/post_transfer"] == {"documents", "cache", "ledger", "bus"}
    assert "identity" not in by_operation["providers/receive_callback"]
    assert {id for id, ports in by_operation.items() if "outgoing" in ports} == {
        *("providers/submit_payment", "webhooks/create_webhook_endpoint", "webhooks/send", "webhooks/send_due"),
    }
