"""A release on a real Knative, judged by the figures of a real Prometheus: a bad one goes back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from cli.client import Client
from deployment.payment import AMOUNT, deposit, new_cpf, open_account, read, until
from tests.cluster.cluster import Cluster
from tests.cluster.observing import observing
from tests.cluster.releasing import Bad, Traffic, controller, lag, release, shares, state
from tests.cluster.stores import start as start_stores

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
DEPOSIT = 10_000_00
BACK_SECONDS = 60.0
SWITCH_SECONDS = 30.0
_LITTLE_LAG_SECONDS = 3.0
_ATTEMPTS = 3
HTTP = ("payments-create-payment", "payments-get-payment")
EVENTS = ("payments-authorize", "ledger-post-transfer", "payments-settle")
"""The facts of one account are in order, so an event that `authorize` holds up holds up every payment of the payer."""


class Fault(NamedTuple):
    """A fault of a release, what the controller says when it takes the release back, and the load."""

    functions: tuple[str, ...]
    name: str
    seconds: float
    reason: str
    payers: int = 1
    readers: int = 2


FAULTS = {
    "5xx": Fault(HTTP, "errors", 0.0, "requests answered with 5xx"),
    # A client that waits for a slow answer asks for nothing else meanwhile, so there are more of them.
    "latency": Fault(HTTP, "slow", 3.0, "time of a request", readers=6),
    "readiness": Fault(HTTP, "unready", 0.0, "no instance of the new revision is ready"),
    "consumer lag": Fault(EVENTS, "slow", 28.0, "age of the oldest event that consumers have not processed", payers=2),
}


@pytest.fixture(scope="module", autouse=True)
def observed(cluster: Cluster) -> Iterator[None]:
    """The collector, Prometheus, the lag of Kafka's consumers, and the controller with criteria for two cores."""
    with (
        observing(cluster, start_stores(cluster.state)),
        controller(cluster, LASTRO_RELEASE_OBSERVATIONS="20", LASTRO_RELEASE_SLOWNESS="3"),
    ):
        yield


@pytest.fixture
def traffic(cluster: Cluster, client: Client) -> Traffic:
    """Load from an account with money to another."""
    payer, payee = (open_account(client, name, new_cpf()) for name in ("Ana Souza", "Bruno Lima"))
    deposit(client, payer, DEPOSIT)
    return Traffic(cluster.state / "client", payer, payee)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_release_goes_back_by_itself(cluster: Cluster, client: Client, traffic: Traffic, fault: str) -> None:
    """Under load a release with a fault has all its traffic taken away, and no payment is lost or made twice."""
    if fault == "latency":
        traffic.slow_seconds = FAULTS[fault].seconds
    with traffic.running(FAULTS[fault].payers, FAULTS[fault].readers):
        until(lambda: len(traffic.payments) > 5, "the load has begun")
        found: dict[str, Any] = {"reasons": []}
        for _ in range(_ATTEMPTS):
            found = _taken_back(cluster, traffic, fault)
            if FAULTS[fault].reason in "; ".join(found["reasons"]):
                break
            # On a machine that is busy with other work, the lag of all functions is a reason as well.
    _accounts_are_right(client, traffic)
    assert FAULTS[fault].reason in "; ".join(found["reasons"])


def _taken_back(cluster: Cluster, traffic: Traffic, fault: str) -> dict[str, Any]:
    """Release the fault when the consumers are not behind, wait until it is taken back, and print what was seen."""
    functions, name, seconds, *_ = FAULTS[fault]
    until(lambda: (lag() or 0.0) < _LITTLE_LAG_SECONDS, "the consumers are not behind")
    former, calm = state(cluster).get("id"), len(traffic.bad)
    release(cluster, functions, fault=name, seconds=seconds)
    until(lambda: state(cluster).get("id") != former and state(cluster)["phase_number"], "the release has traffic")
    until(lambda: state(cluster)["outcome"] == "rolled back", "the release is taken back")
    found = state(cluster)
    assert shares(cluster, functions) == {0}
    # The load goes on for as long as a switch may take.
    time.sleep(SWITCH_SECONDS)
    print(_row(fault, found, traffic.bad[calm:]))
    return found


def _row(fault: str, found: dict[str, Any], bad: list[Bad]) -> str:
    """Return what was seen, in a line."""
    begun, decided = (_time_of(found, action) for action in ("promote", "roll back"))
    first = min((each.answered for each in bad), default=decided)
    last = max((each.answered for each in bad), default=decided)
    return (
        f"\n{fault}: taken back {decided - begun:.1f} s after its first traffic; bad answers: {len(bad)}; the last one "
        f"{last - first:.1f} s after the first (limit {BACK_SECONDS:g} s) and {max(0.0, last - decided):.1f} s after "
        f"the switch (limit {SWITCH_SECONDS:g} s)\n  {'; '.join(found['reasons'])}"
    )


def _time_of(found: dict[str, Any], action: str) -> float:
    """Return when the controller has first done something."""
    line = next(line for line in found["log"] if line["action"] == action)
    return datetime.fromisoformat(line["at"]).timestamp()


def _accounts_are_right(client: Client, traffic: Traffic) -> None:
    """Every accepted payment is settled once: the statuses and both balances say so."""
    until(lambda: traffic.settled(client), "every payment is settled")
    assert len(set(traffic.payments.values())) == len(traffic.payments)
    spent = len(traffic.payments) * AMOUNT
    balances = ((traffic.payer, DEPOSIT - spent), (traffic.payee, spent))
    for account, value in balances:
        until(lambda: read(client, f"/v1/accounts/{account}/balance")["available"] == value, "the balance")  # noqa: B023
