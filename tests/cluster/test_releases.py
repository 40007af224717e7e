"""Releases on a real Knative, judged by the figures of a real Prometheus: a bad one goes back by itself, and a good one
gets all traffic."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from cli.client import Client
from deployment.payment import ordered, until
from shared.release.state import COMPLETE, OBSERVED, RUNNING
from tests.cluster.cluster import Cluster
from tests.cluster.deploying import create_tenant
from tests.cluster.observing import observing
from tests.cluster.releasing import (
    COMMIT,
    TRACE,
    Bad,
    Traffic,
    confirm,
    controller,
    judge,
    lag,
    measured,
    record,
    release,
    restore,
    scheduled_each_minute,
    shares,
    state,
)
from tests.cluster.stores import start as start_stores

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
BACK_SECONDS = 60.0
SWITCH_SECONDS = 30.0
_LITTLE_LAG_SECONDS = 3.0
_GOOD_SECONDS = 1500
"""How long a good release may take: four phases with little traffic."""
_RECONCILIATIONS = 25
_ATTEMPTS = 3
# Functions that answer requests, and functions that consume events.
HTTP = ("payments-create-payment", "payments-get-payment")
# The facts of one account are in order, so an event that `authorize` holds up holds up every payment of the payer.
EVENTS = ("payments-authorize", "ledger-post-transfer", "payments-settle")
PATH = (*HTTP, "accounts-hold-funds", *EVENTS)
"""What a release renews here: the functions between the request of a payment and its settlement."""
MEASURING = ("operations-audit-day", "operations-measure-dead-letters")
"""What measures the whole platform, by its schedule; a release is not promoted to the end without their figures."""
RECONCILING = "providers-create-reconciliation"


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
    with observing(cluster, start_stores(cluster.state)):
        measured(cluster, (*MEASURING, RECONCILING))
        with controller(cluster, OBSERVATIONS="20", SLOWNESS="3", OBSERVATION_MINUTES="2"):
            yield
        # The templates still have the last fault, and another test makes its revision of them.
        restore(cluster, PATH)


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
    traffic.is_right(client)
    assert FAULTS[fault].reason in "; ".join(found["reasons"])


def test_a_good_release_gets_all_traffic(cluster: Cluster, client: Client, traffic: Traffic) -> None:
    """Under load a release without a fault gets 5, 25, 50 and 100 % of the traffic, is observed and is complete when it
    was confirmed; its record has the commit, the digest of the image and the trace id, and no payment is lost."""
    image = cluster.image_by_digest("dev.local/lastro:test")
    # A day of a tenant is audited once, and the audit must be in the figures of this run: so it is a new tenant's.
    create_tenant(cluster, start_stores(cluster.state), name=f"audited-{secrets.token_hex(4)}")
    # A percentile of twenty observations is the slowest of them, on a machine that may do other work as well.
    judge(cluster, SLOWNESS="10")
    with scheduled_each_minute(cluster, MEASURING), traffic.running(payers=2, readers=1):
        until(lambda: len(traffic.payments) > 5, "the load has begun")
        _reconcile(client)
        found: dict[str, Any] = {}
        for _ in range(_ATTEMPTS):
            until(lambda: (lag() or 0.0) < _LITTLE_LAG_SECONDS, "the consumers are not behind")
            former = state(cluster).get("id")
            release(cluster, PATH, image=image)
            until(lambda: state(cluster).get("id") != former, "the release has begun")  # noqa: B023
            until(lambda: state(cluster)["outcome"] != RUNNING, "the release has ended", seconds=_GOOD_SECONDS)
            found = state(cluster)
            print(_phases(found))
            if found["outcome"] == OBSERVED:
                break
            # On a machine that is busy with other work, its times are a reason to take it back.
        assert found["outcome"] == OBSERVED, found["reasons"]
        assert shares(cluster, PATH) == {100}
        confirm(cluster, image)
        until(lambda: state(cluster)["outcome"] == COMPLETE, "the release is complete")
    traffic.is_right(client)
    kept = record(cluster, found["id"])
    assert (kept["outcome"], kept["image"], kept["commit"], kept["trace_id"]) == (COMPLETE, image, COMMIT, TRACE)
    assert [line["phase"] for line in kept["log"] if line["action"] == "promote"] == [0, 1, 2, 3, 4]
    assert kept["revisions"] == found["new"]


def _reconcile(client: Client) -> None:
    """Compare the deposits with the rail so often that the share of matched items rests on enough of them."""
    now = datetime.now(UTC)
    body = {"provider": "pix", "from": (now - timedelta(hours=1)).isoformat(), "to": now.isoformat()}
    for _ in range(_RECONCILIATIONS):
        assert ordered(client, "/v1/reconciliations", body)["unmatched"] == 0


def _phases(found: dict[str, Any]) -> str:
    """Return the steps of a release, with the seconds since its beginning."""
    begin = datetime.fromisoformat(found["started"])
    lines = [
        f"  {(datetime.fromisoformat(line['at']) - begin).total_seconds():6.1f} s  phase {line['phase']}  "
        f"{line['action']}: {'; '.join(line['reasons'])}"
        for line in found["log"]
    ]
    return "\n".join((f"\n{found['outcome']}", *lines))


def _taken_back(cluster: Cluster, traffic: Traffic, fault: str) -> dict[str, Any]:
    """Release the fault when the consumers are not behind, wait until it is taken back, and print what was seen."""
    functions, name, seconds, *_ = FAULTS[fault]
    until(lambda: (lag() or 0.0) < _LITTLE_LAG_SECONDS, "the consumers are not behind")
    former, calm = state(cluster).get("id"), len(traffic.bad)
    release(cluster, PATH, faulty=functions, fault=name, seconds=seconds)
    until(lambda: state(cluster).get("id") != former and state(cluster)["phase_number"], "the release has traffic")
    until(lambda: state(cluster)["outcome"] == "rolled back", "the release is taken back")
    found = state(cluster)
    assert shares(cluster, PATH) == {0}
    # The load goes on for as long as a switch may take.
    time.sleep(SWITCH_SECONDS)
    print(_row(fault, found, traffic.bad[calm:]))
    if functions is EVENTS:
        until(lambda: (lag() or 0.0) < _LITTLE_LAG_SECONDS, "the consumers are not behind any more")
        seconds = time.time() - _time_of(found, "roll back")
        print(f"  the consumers were less than {_LITTLE_LAG_SECONDS:g} s behind {seconds:.1f} s after the switch")
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
