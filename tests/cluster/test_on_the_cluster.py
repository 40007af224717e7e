"""The manifests on a real Kubernetes with Knative: what a cluster adds to the functions is there, and loses nothing."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from cli.client import Client
from deployment.functions import NAMESPACE
from deployment.payment import AMOUNT, Load, deposit, new_cpf, open_account, pay_once, read, until
from tests.cluster.cluster import Cluster
from tests.cluster.measuring import BARE, cold_start, deploy_bare_function, pods_of
from tests.cluster.places import NODE
from tests.cluster.releasing import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]
PAYMENTS_UNDER_LOAD = 20
DRAIN_SECONDS = 600
PATH = (
    "payments-create-payment",
    "accounts-hold-funds",
    "payments-authorize",
    "ledger-post-transfer",
    "payments-settle",
)
"""The functions between the request of a payment and its settlement."""


def test_everything_is_ready(cluster: Cluster) -> None:
    """Each Service, the Broker, each Trigger and each source of the manifests is Ready."""
    for kind, least in (("ksvc", 100), ("broker", 1), ("trigger", 20), ("pingsource", 10), ("containersource", 1)):
        found = cluster.get(kind, f"--namespace={NAMESPACE}")["items"]
        assert len(found) >= least
        for each in found:
            ready = [item["status"] for item in each["status"]["conditions"] if item["type"] == "Ready"]
            assert ready == ["True"], (kind, each["metadata"]["name"], each["status"]["conditions"])


def test_a_payment_is_settled_through_the_gateway(client: Client) -> None:
    """Accounts, a deposit by PIX and a signed payment end as they do on one machine, over the real stores."""
    steps = [f"{what} ({seconds:.1f} s)" for what, seconds in pay_once(client)]
    print("", *steps, sep="\n")
    assert len(steps) == 5


def test_a_refused_event_becomes_a_dead_letter(cluster: Cluster, client: Client) -> None:
    """An event that its function refuses is not lost: the Trigger's dead letter sink parks it with the reason."""
    before = {letter["id"] for letter in read(client, "/v1/dead-letters?limit=100")["data"]}
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "cluster-refused",
        "ce-source": "/tests/cluster",
        "ce-type": "lastro.ledger.transfer_posted.v1",
        "ce-tenantid": "demo",
        "ce-time": "2026-11-26T12:00:00Z",
    }
    broker = cluster.get("broker", "default", f"--namespace={NAMESPACE}")["status"]["address"]["url"]
    # The status is only shown: on a busy machine the Broker answers 500 before the dead letter is parked, and the event
    # is sent again, as its source would.
    send = (
        "import sys,json,httpx;"
        "print(httpx.post(sys.argv[1],content=b'{}',timeout=120,"
        "headers={**json.loads(sys.argv[2]),'content-type':'application/json'}).status_code)"
    )
    pod = until(lambda: pods_of(cluster, "payments-create-payment"), "a pod of payments-create-payment")[0]
    inside = ("exec", pod, f"--namespace={NAMESPACE}", "--container=function", "--")

    def parked() -> set[str]:
        cluster.kubectl(*inside, "python", "-c", send, broker, json.dumps(headers))
        return {letter["id"] for letter in read(client, "/v1/dead-letters?limit=100")["data"]} - before

    assert until(parked, "the dead letter")


def test_a_schedule_reaches_its_function(cluster: Cluster) -> None:
    """A PingSource's tick starts a function that is scaled to zero."""
    assert until(lambda: pods_of(cluster, "operations-sweep-outbox"), "a pod of operations-sweep-outbox")


def test_a_cold_start_is_near_that_of_a_bare_function(cluster: Cluster) -> None:
    """A support function scales to zero and answers the first request, beside a function of the framework alone."""
    deploy_bare_function(cluster)
    bare = cold_start(cluster, BARE, "/")
    ours = cold_start(cluster, "statements-get-statement", "/healthz")
    print(f"\ncold start: statements-get-statement {ours:.2f} s, a bare function of the framework {bare:.2f} s")


def test_a_killed_pod_loses_no_payment(cluster: Cluster, client: Client) -> None:
    """While each pod of create_payment and of settle is killed under load, every accepted payment ends once."""
    payer, payee = (open_account(client, name, new_cpf()) for name in ("Ana Souza", "Bruno Lima"))
    deposit(client, payer, 100_00)
    load = Load(client, payer, payee)

    def kill() -> None:
        for function in ("payments-create-payment", "payments-settle", "ledger-post-transfer"):
            for pod in pods_of(cluster, function):
                cluster.kubectl("delete", "pod", pod, f"--namespace={NAMESPACE}", "--grace-period=0", "--force")

    killing = threading.Thread(target=kill)
    for count in range(PAYMENTS_UNDER_LOAD):
        if count == PAYMENTS_UNDER_LOAD // 4:
            killing.start()
        load.pay()
    killing.join()
    until(lambda: set(load.statuses()) == {"settled"}, "every payment is settled")
    assert len({payment["id"] for payment in load.accepted.values()}) == PAYMENTS_UNDER_LOAD
    spent = PAYMENTS_UNDER_LOAD * AMOUNT
    until(lambda: read(client, f"/v1/accounts/{payer}/balance")["available"] == 100_00 - spent, "the payer's balance")
    until(lambda: read(client, f"/v1/accounts/{payee}/balance")["available"] == spent, "the payee's balance")


def test_a_drained_revision_loses_no_payment(cluster: Cluster, client: Client, traffic: Traffic) -> None:
    """While a node is drained of the revisions of the payment path under load, with their disruption budgets and their
    time to end, and takes pods again, every accepted payment is settled once."""
    drained = tuple(pods_of(cluster, function) for function in PATH)
    with traffic.running(payers=2):
        until(lambda: len(traffic.payments) > 5, "the load has begun")
        with ThreadPoolExecutor(1) as pool:
            # As an operator does it: the node is cordoned, and each pod is evicted by the API, which refuses what a
            # budget forbids. A second pod of a revision goes when the first one runs elsewhere, here after `uncordon`.
            selector = f"--pod-selector=serving.knative.dev/service in ({','.join(PATH)})"
            options = ("--delete-emptydir-data", "--ignore-daemonsets", f"--timeout={DRAIN_SECONDS}s")
            draining = pool.submit(cluster.kubectl, "drain", NODE, selector, *options)
            until(lambda: all(set(pods) - set(_pods(cluster)) for pods in drained), "a pod of each revision is evicted")
            begin, before = time.monotonic(), len(traffic.payments)
            cluster.kubectl("uncordon", NODE)
            said = draining.result()
        until(lambda: len(traffic.payments) > before + PAYMENTS_UNDER_LOAD, "payments are accepted again")
        seconds = time.monotonic() - begin
    evicted = sum(line.endswith(" evicted") for line in said.splitlines())
    refused = said.count("evicting pod ") - evicted
    print(
        f"\n{evicted} pods evicted, {refused} evictions refused by a budget until another pod was ready; "
        f"{len(traffic.payments)} payments; {len(traffic.bad)} answers with 5xx or none; "
        f"{PAYMENTS_UNDER_LOAD} more payments {seconds:.1f} s after the node took pods again"
    )
    assert not {pod for pods in drained for pod in pods} & set(_pods(cluster))
    traffic.is_right(client)


def _pods(cluster: Cluster) -> list[str]:
    return [pod for function in PATH for pod in pods_of(cluster, function)]


def test_a_new_revision_takes_over_by_traffic(cluster: Cluster, client: Client) -> None:
    """A release gets half of the traffic and then all of it, and no request fails meanwhile."""
    name = "payments-get-payment"
    old = cluster.get("ksvc", name, f"--namespace={NAMESPACE}")["status"]["latestReadyRevisionName"]
    payment = read(client, "/v1/payments?limit=1")["data"][0]["id"]
    # An annotation of the template makes a revision, as often as the test runs on this cluster.
    template = {"metadata": {"annotations": {"lastro.dev/test": secrets.token_hex(4)}}}
    split = [{"revisionName": old, "percent": 50}, {"latestRevision": True, "percent": 50}]
    _merge(cluster, name, {"template": template, "traffic": split})

    def new_revision() -> str | None:
        status = cluster.get("ksvc", name, f"--namespace={NAMESPACE}")["status"]
        latest: str = status["latestReadyRevisionName"]
        return latest if latest != old and len(status["traffic"]) == 2 else None

    latest = until(new_revision, "the new revision shares the traffic")
    for _ in range(PAYMENTS_UNDER_LOAD):
        assert read(client, f"/v1/payments/{payment}")["id"] == payment
    _merge(cluster, name, {"traffic": [{"latestRevision": True, "percent": 100}]})

    def complete() -> bool:
        traffic = cluster.get("ksvc", name, f"--namespace={NAMESPACE}")["status"]["traffic"]
        return [(each["revisionName"], each["percent"]) for each in traffic] == [(latest, 100)]

    until(complete, "all traffic goes to the new revision")
    assert read(client, f"/v1/payments/{payment}")["id"] == payment


def _merge(cluster: Cluster, name: str, spec: Mapping[str, object]) -> None:
    given = ("--type=merge", f"--patch={json.dumps({'spec': spec})}")
    cluster.kubectl("patch", "ksvc", name, f"--namespace={NAMESPACE}", *given)
