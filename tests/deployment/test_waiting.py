"""Waiting for what starts on a cluster, with kubectl as a stand-in: what has failed for good ends it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployment import functions, waiting
from deployment.cluster import Kubernetes
from deployment.commands import DeploymentFailed
from deployment.waiting import Watch, wait, wait_for_job
from tests.deployment.stand_ins import StandIns

CLUSTER = Kubernetes(["kubectl"])
READY = ("wait", "--for=condition=Ready", "kafka/lastro")


def pod(name: str, reason: str = "", *, restarts: int = 0, message: str = "", **status: Any) -> dict[str, Any]:
    """A pod whose one container waits for this reason, or runs."""
    state = {"waiting": {"reason": reason, "message": message}} if reason else {"running": {}}
    container = {"name": "main", "restartCount": restarts, "state": state}
    return {"metadata": {"name": name}, "status": {"phase": "Running", "containerStatuses": [container], **status}}


def pods(*items: dict[str, Any]) -> str:
    return json.dumps({"items": items})


def job(condition: str = "", **more: str) -> str:
    conditions = [{"type": condition, "status": "True", **more}] if condition else []
    return json.dumps({"metadata": {"name": "x"}, "status": {"conditions": conditions}})


def test_what_becomes_ready_is_waited_for(programs: StandIns) -> None:
    """Kubectl is asked again, a few seconds at a time, while the pods are on their way, also for what is not there
    yet."""
    programs.answers(" wait ", 1, 1, "")
    programs.answers(" get pods ", pods(pod("a", "ContainerCreating"), pod("b")))
    wait(CLUSTER, "kafka", *READY)
    asked = "kubectl wait --for=condition=Ready kafka/lastro --namespace=kafka --timeout=5s"
    looked = "kubectl get pods --namespace=kafka -o json"
    assert programs.lines == [asked, looked, asked, looked, asked]


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError", "ErrImageNeverPull"])
def test_a_pod_that_cannot_start_ends_the_wait(
    programs: StandIns, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """An image that cannot be had, and a container that cannot be made, end the wait with what Kubernetes says."""
    monkeypatch.setitem(waiting._PATIENCE, reason, 0.0)
    programs.answers(" rollout ", 1)
    programs.answers(" get pods ", pods(pod("redis-0", reason, message='Back-off pulling image "redis:0"')))
    with pytest.raises(DeploymentFailed, match=rf'^pod redis-0: {reason} of main\nBack-off pulling image "redis:0"$'):
        wait(CLUSTER, "redis", "rollout", "status", "statefulset/redis")


def test_a_pod_may_have_a_reason_for_a_while(programs: StandIns) -> None:
    """A reason not to start that goes away, and then comes again, is counted from its second begin."""
    programs.answers(" get pods ", pods(pod("a", "ErrImagePull")), pods(pod("a")), pods(pod("a", "ErrImagePull")))
    watch = Watch(CLUSTER, "kafka")
    for _ in range(3):
        watch.check()
    assert len(watch._since) == 1


def test_a_container_that_ends_again_and_again_ends_the_wait(programs: StandIns) -> None:
    """At its fifth start a container that always ends has failed, and the last lines of its log are shown."""
    programs.answers(" wait ", 1)
    programs.answers(" get pods ", *(pods(pod("a", "CrashLoopBackOff", restarts=count)) for count in (1, 3, 5)))
    programs.answers("^kubectl logs a --namespace=kafka --container=main --previous --tail=15", "no space left\n")
    with pytest.raises(DeploymentFailed, match=r"^pod a: CrashLoopBackOff of main\nits last lines:\nno space left$"):
        wait(CLUSTER, "kafka", *READY)
    assert sum(" wait " in line for line in programs.lines) == 3


def test_a_former_failure_is_given_another_chance(programs: StandIns) -> None:
    """A container that ended many times before the wait began has to end once more."""
    programs.answers(" get pods ", *(pods(pod("a", "CrashLoopBackOff", restarts=count)) for count in (9, 9, 10)))
    watch = Watch(CLUSTER, "kafka")
    watch.check()
    watch.check()
    with pytest.raises(DeploymentFailed, match="pod a: CrashLoopBackOff"):
        watch.check()


def test_a_pod_may_need_another_one_that_starts(programs: StandIns) -> None:
    """While another pod of the namespace is on its way, a container that ends again and again is waited for."""
    failing = [pod("a", "CrashLoopBackOff", restarts=count) for count in (1, 7)]
    database = pod("db", "ContainerCreating", phase="Pending")
    programs.answers(" get pods ", pods(failing[0], database), pods(failing[1], database), pods(failing[1]))
    watch = Watch(CLUSTER, "keycloak")
    watch.check()
    watch.check()
    with pytest.raises(DeploymentFailed, match=r"CrashLoopBackOff of main\nits last lines:\n"):
        watch.check()


def test_a_pod_without_a_place_ends_the_wait(programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that no node has room for ends the wait with the words of the scheduler; one that is being deleted does
    not."""
    monkeypatch.setitem(waiting._PATIENCE, "Unschedulable", 0.0)
    full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "1 Insufficient memory"}
    waits = pod("a", phase="Pending", conditions=[full], containerStatuses=[])
    leaves = {**waits, "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    programs.answers(" get pods ", pods(leaves), pods(waits))
    watch = Watch(CLUSTER, "cassandra")
    watch.check()
    with pytest.raises(DeploymentFailed, match=r"^pod a: Unschedulable\n1 Insufficient memory$"):
        watch.check()


def test_an_api_server_that_does_not_answer_is_waited_for(programs: StandIns) -> None:
    """A cluster that does not answer for a while, as on a busy machine, ends neither the wait for a resource nor that
    for a job."""
    programs.answers(" wait ", 1, "")
    programs.answers(" get pods ", 1)
    programs.answers(" get job/x ", 1, job("Complete"))
    wait(CLUSTER, "kube-system", "wait", "--for=condition=Ready", "node", "--all")
    wait_for_job(CLUSTER, "lastro", "x")


def test_a_wait_has_an_end(programs: StandIns) -> None:
    """What is neither ready nor failed in the time it has is reported with the last lines of kubectl."""
    programs.answers(" wait ", 1)
    programs.answers(" get pods ", pods())
    with pytest.raises(DeploymentFailed, match=r"^not within 0 s\n`kubectl wait .*ended with 1\nit failed$"):
        wait(CLUSTER, "kafka", *READY, seconds=0)


def test_a_failed_job_ends_the_wait_with_its_log(programs: StandIns) -> None:
    """A job that has failed is seen at once, and the reason and the log of its last pod are shown."""
    programs.answers(" get job/x ", job(), job("Failed", reason="BackoffLimitExceeded", message="too often"))
    programs.answers(" get pods ", pods(pod("x-1"), pod("x-2")))
    programs.answers("^kubectl logs x-2 --namespace=lastro --tail=15", "LASTRO_LEDGER: no such keyspace\n")
    with pytest.raises(DeploymentFailed) as raised:
        wait_for_job(CLUSTER, "lastro", "x")
    assert str(raised.value) == (
        "the job x has failed: BackoffLimitExceeded: too often\nLASTRO_LEDGER: no such keyspace"
    )


def test_a_job_is_waited_for(programs: StandIns) -> None:
    """A job that is complete ends the wait, and one that runs does not; only its own pods are looked at."""
    programs.answers(" get job/x ", job(), job("SuccessCriteriaMet"), job("Complete"))
    programs.answers(" get pods ", pods(pod("x-1")))
    wait_for_job(CLUSTER, "lastro", "x")
    looked = [line for line in programs.lines if " get pods " in line]
    assert looked == ["kubectl get pods --namespace=lastro --selector=job-name=x -o json"] * 2


def test_a_job_that_does_not_end_is_reported(programs: StandIns) -> None:
    """A job that runs for longer than it may is reported; without a pod, that is said instead of its log."""
    programs.answers(" get job/x ", job())
    programs.answers(" get pods ", pods())
    with pytest.raises(DeploymentFailed, match=r"^the job x does not end within 0 s\n\(it has no pod\)$"):
        wait_for_job(CLUSTER, "lastro", "x", seconds=0)


def test_a_function_that_cannot_start_ends_the_wait(programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for the functions ends with the reason of the pod, and not with the time that functions have."""
    monkeypatch.setattr(functions, "_LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setitem(waiting._PATIENCE, "CreateContainerConfigError", 0.0)
    programs.answers(" get ksvc ", json.dumps({"items": [{"metadata": {"name": "f"}}]}))
    message = 'secret "lastro-connections" not found'
    programs.answers(" get pods ", pods(pod("f-1", "CreateContainerConfigError", message=message)))
    with pytest.raises(DeploymentFailed, match=message):
        functions.wait(CLUSTER, ["ksvc"])
