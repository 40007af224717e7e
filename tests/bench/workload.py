"""The work of a measurement: accounts, whole payments through signed HTTP, and the time that they take."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.bench.client import Credentials, Outcome, call, closed_loop, open_loop, percentile, signed_request
from tests.bench.server import Server

OVERDRAFT = 10**12
_keys = count()
_run = f"{time.time_ns():x}"


def _key() -> str:
    return f"bench-{_run}-{next(_keys)}"


async def open_accounts(credentials: Credentials, number: int) -> list[str]:
    """Open accounts that may overdraw, so that no payment is declined. Returns their ids."""
    user = await call(credentials, "POST", "/v1/users", _user(), _key())
    gate = asyncio.Semaphore(16)

    async def one() -> str:
        body = {"owner_id": user["id"], "currency": "BRL", "overdraft_limit": OVERDRAFT}
        async with gate:
            return str((await call(credentials, "POST", "/v1/accounts", body, _key()))["id"])

    return list(await asyncio.gather(*(one() for _ in range(number))))


def _user() -> dict[str, Any]:
    digits = [random.randrange(10) for _ in range(9)]
    for weights in (range(10, 1, -1), range(11, 1, -1)):
        rest = sum(d * w for d, w in zip(digits, weights, strict=True)) * 10 % 11 % 10
        digits.append(rest)
    return {
        "kind": "merchant",
        "name": "Loja de Medidas",
        "document": {"type": "cpf", "number": "".join(map(str, digits))},
        "email": "loja@example.com",
    }


def payments(
    credentials: Credentials, accounts: list[str], number: int, *, hot: str | None, wait_seconds: int = 0
) -> Iterator[bytes]:
    """Yield signed requests for internal payments of 1.00 between random accounts, or all to one."""
    for _ in range(number):
        payer = random.choice(accounts)
        payee = hot or random.choice(accounts)
        while payee == payer:
            payer = random.choice(accounts)
        body = json.dumps(
            {
                "amount": {"value": 100, "currency": "BRL"},
                "method": "internal",
                "payer_account_id": payer,
                "payee_account_id": payee,
                "reference": "bench",
            }
        ).encode()
        yield signed_request(credentials, "POST", "/v1/payments", body, _key(), wait_seconds=wait_seconds)


async def settled_per_second(server: Server, accounts: list[str], number: int, hot: str | None) -> float:
    """Return payments settled per second, from the first request to the last settlement. The requests are signed
    before."""
    ready = list(payments(server.credentials(), accounts, number, hot=hot))
    before = server.deliveries("payments/settle")
    projected = server.deliveries("statements/project_transfer")
    started = time.perf_counter()
    outcome = await closed_loop(server.credentials(), iter(ready), connections=64)
    expect(outcome, 201)
    while (
        server.deliveries("payments/settle") - before < number
        or server.deliveries("statements/project_transfer") - projected < number
    ):
        await asyncio.sleep(0.02)
        if time.perf_counter() - started > 300:
            raise RuntimeError("payments were not settled in five minutes")
    # A response is sent when everything before it is on disk, including the last settlement.
    await closed_loop(server.credentials(), iter(payments(server.credentials(), accounts, 1, hot=hot)), connections=1)
    return number / (time.perf_counter() - started)


async def latency(server: Server, accounts: list[str], per_second: float, seconds: int) -> dict[str, float]:
    """Measure the time from the request until the payment is settled and in the statement (`Prefer: wait`), at a fixed
    rate. Returns percentiles in milliseconds."""
    credentials = server.credentials()
    requests = payments(credentials, accounts, int(per_second * seconds), hot=None, wait_seconds=10)
    outcome = await open_loop(credentials, requests, per_second)
    expect(outcome, 201)
    return {
        "per_second": per_second,
        "p50_ms": percentile(outcome.latencies, 0.50) * 1000,
        "p95_ms": percentile(outcome.latencies, 0.95) * 1000,
        "p99_ms": percentile(outcome.latencies, 0.99) * 1000,
    }


def expect(outcome: Outcome, status: int) -> None:
    """Raise RuntimeError when a response had another status."""
    if set(outcome.statuses) != {status}:
        raise RuntimeError(f"answers other than {status}: {outcome.statuses}")
